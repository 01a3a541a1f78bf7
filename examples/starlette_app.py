# SPDX-License-Identifier: Apache-2.0
"""imageapi with Starlette: under a prefix, and in front of the application.

In a folder with an imageapi.conf:

    uvicorn starlette_app:app

Images are at /glance/v1/images/{image_id} and at /v1/images/{image_id}: keep the
way that you need.
"""

import contextlib

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import imageapi.asgi

conf = imageapi.load_config(["imageapi.conf"])
images = imageapi.asgi.Application(conf)


async def site(request):
    return PlainTextResponse("the site")


@contextlib.asynccontextmanager
async def lifespan(app):
    yield
    images.close()


routes = [Route("/", site), Mount("/glance", images)]
in_front = imageapi.asgi.Middleware(Starlette(routes=routes, lifespan=lifespan), conf)


async def app(scope, receive, send):
    # Set by Starlette's AuthenticationMiddleware. None for an anonymous caller.
    user = getattr(scope.get("user"), "username", None)
    scope["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
    await in_front(scope, receive, send)
