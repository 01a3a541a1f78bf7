# SPDX-License-Identifier: Apache-2.0
"""imageapi with Pyramid: under a prefix, in front, and in a view.

In a folder with an imageapi.conf:

    gunicorn --worker-class gthread --threads 8 --no-control-socket pyramid_app:application

Images are at /glance/v1/images/{image_id}, at /v1/images/{image_id} and at
/download/{image_id}: keep the way that you need.
"""

from pyramid.config import Configurator
from pyramid.response import Response
from pyramid.wsgi import wsgiapp2

import imageapi


def site(request):
    return Response("the site", content_type="text/plain")


def download(request):
    user = request.remote_user  # with a security policy: request.authenticated_userid
    request.environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
    return images.respond(request, request.matchdict["image_id"])


conf = imageapi.load_config(["imageapi.conf"])
images = imageapi.ImageAPI(conf)

with Configurator() as config:
    config.add_route("site", "/")
    config.add_view(site, route_name="site")
    config.add_route("download", "/download/{image_id}")
    config.add_view(download, route_name="download")
    config.add_route("glance", "/glance/*subpath")
    config.add_view(wsgiapp2(images), route_name="glance")
    app = config.make_wsgi_app()

in_front = imageapi.ImageAPIMiddleware(app, conf)


def application(environ, start_response):
    # Set by the middleware that authenticates users. None for an anonymous caller.
    user = environ.get("REMOTE_USER")
    environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
    return in_front(environ, start_response)
