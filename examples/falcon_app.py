# SPDX-License-Identifier: Apache-2.0
"""imageapi with Falcon: under a prefix, in front, and in a responder.

In a folder with an imageapi.conf:

    gunicorn --worker-class gthread --threads 8 --no-control-socket falcon_app:application

Images are at /glance/v1/images/{image_id}, at /v1/images/{image_id} and at
/download/{image_id}: keep the way that you need.
"""

import falcon
import webob

import imageapi


class Site:
    def on_get(self, request, response):
        response.text = "the site"


class Download:
    def on_get(self, request, response, image_id):
        user = request.env.get("REMOTE_USER")  # or the user that your middleware found
        request.env["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
        answer = images.respond(webob.Request(request.env), image_id)
        response.status = answer.status
        response.set_headers(answer.headerlist)
        response.stream = answer.app_iter

    on_head = on_get


app = falcon.App()
app.add_route("/", Site())
app.add_route("/download/{image_id}", Download())

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
