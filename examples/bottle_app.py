# SPDX-License-Identifier: Apache-2.0
"""imageapi with Bottle: under a prefix, and in front.

In a folder with an imageapi.conf:

    gunicorn --worker-class gthread --threads 8 --no-control-socket bottle_app:application

Images are at /glance/v1/images/{image_id} and at /v1/images/{image_id}: keep the
way that you need. Do not use Bottle's own mount(): it sends X-Image-Meta-Disk_format
as X-Image-Meta-Disk-Format, which no client recognizes.
"""

import bottle

import imageapi

app = bottle.Bottle()


@app.get("/")
def site():
    return "the site"


in_front = imageapi.ImageAPIMiddleware(app, imageapi.load_config(["imageapi.conf"]))
images = in_front.api


def application(environ, start_response):
    # Set by the middleware that authenticates users. None for an anonymous caller.
    user = environ.get("REMOTE_USER")
    environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)

    if environ["PATH_INFO"].startswith("/glance/"):
        environ["SCRIPT_NAME"] += "/glance"
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/glance")
        return images(environ, start_response)
    return in_front(environ, start_response)
