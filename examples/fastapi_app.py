# SPDX-License-Identifier: Apache-2.0
"""imageapi with FastAPI: under a prefix, and at /v1.

In a folder with an imageapi.conf:

    uvicorn fastapi_app:app

Images are at /glance/v1/images/{image_id} and at /v1/images/{image_id}: keep the
way that you need.
"""

from a2wsgi import WSGIMiddleware
from fastapi import FastAPI

import imageapi

images = imageapi.ImageAPI(imageapi.load_config(["imageapi.conf"]))


def identified(environ, start_response):
    # From Starlette's AuthenticationMiddleware; None where nobody is logged in.
    user = getattr(environ["asgi.scope"].get("user"), "username", None)
    environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
    return images(environ, start_response)


app = FastAPI()


@app.get("/")
def site():
    return "the site"


# As many downloads run at once as there are workers.
wsgi = WSGIMiddleware(identified, workers=8)
app.mount("/glance", wsgi)
app.mount("/v1", wsgi)
