# SPDX-License-Identifier: Apache-2.0
"""imageapi with Starlette: under a prefix, and at /v1.

In a folder with an imageapi.conf:

    uvicorn starlette_app:app

Images are at /glance/v1/images/{image_id} and at /v1/images/{image_id}: keep the
way that you need.
"""

from a2wsgi import WSGIMiddleware
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import imageapi

images = imageapi.ImageAPI(imageapi.load_config(["imageapi.conf"]))


def identified(environ, start_response):
    # From Starlette's AuthenticationMiddleware; None where nobody is logged in.
    user = getattr(environ["asgi.scope"].get("user"), "username", None)
    environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
    return images(environ, start_response)


async def site(request):
    return PlainTextResponse("the site")


# As many downloads run at once as there are workers.
wsgi = WSGIMiddleware(identified, workers=8)
app = Starlette(routes=[Route("/", site), Mount("/glance", wsgi), Mount("/v1", wsgi)])
