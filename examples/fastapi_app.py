# SPDX-License-Identifier: Apache-2.0
"""imageapi with FastAPI: under a prefix, and at /v1.

In a folder with an imageapi.conf:

    uvicorn fastapi_app:app

Images are at /glance/v1/images/{image_id} and at /v1/images/{image_id}: keep the
way that you need.
"""

import contextlib

from fastapi import FastAPI

import imageapi.asgi

images = imageapi.asgi.Application(imageapi.load_config(["imageapi.conf"]))


async def identified(scope, receive, send):
    # Set by Starlette's AuthenticationMiddleware. None for an anonymous caller.
    user = getattr(scope.get("user"), "username", None)
    scope["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
    await images(scope, receive, send)


@contextlib.asynccontextmanager
async def lifespan(app):
    yield
    images.close()


app = FastAPI(lifespan=lifespan)


@app.get("/")
def site():
    return "the site"


app.mount("/glance", identified)
app.mount("/v1", identified)
