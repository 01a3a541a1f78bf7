# SPDX-License-Identifier: Apache-2.0
"""imageapi with Flask: under a prefix, in front, and in a view.

In a folder with an imageapi.conf:

    gunicorn --worker-class gthread --threads 8 --no-control-socket flask_app:application

`flask --app flask_app run` serves `app` alone, and so only /download/{image_id}.  For the other
paths too, assign `app.wsgi_app = imageapi.ImageAPIMiddleware(app.wsgi_app, conf)`.

Images are at /glance/v1/images/{image_id}, at /v1/images/{image_id} and at
/download/{image_id}: keep the way that you need.
"""

import webob
from flask import Flask, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import imageapi

app = Flask(__name__)


@app.get("/")
def site():
    return "the site"


@app.get("/download/<image_id>")
def download(image_id):
    user = request.remote_user  # or the user of your session
    request.environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
    # Flask accepts any WSGI application as a response, and does not change it.
    return images.respond(webob.Request(request.environ), image_id)


in_front = imageapi.ImageAPIMiddleware(app, imageapi.load_config(["imageapi.conf"]))
images = in_front.api
mounted = DispatcherMiddleware(in_front, {"/glance": images})


def application(environ, start_response):
    # Set by the middleware that authenticates users. None for an anonymous caller.
    user = environ.get("REMOTE_USER")
    environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
    return mounted(environ, start_response)
