# SPDX-License-Identifier: Apache-2.0
"""imageapi with Django: under a prefix, in front, and in a view.

In a folder with an imageapi.conf:

    gunicorn --worker-class gthread --threads 8 --no-control-socket django_app:application

Images are at /glance/v1/images/{image_id}, at /v1/images/{image_id} and at
/download/{image_id}: keep the way that you need. Use a WSGI server: under
ASGI, Django would collect every image in memory.
"""

import secrets

import webob
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

import imageapi

# settings.py
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_hex(),
)


# views.py
def site(request):
    return HttpResponse("the site", content_type="text/plain")


def download(request, image_id):
    # Django decodes the path as UTF-8, but WSGI requires latin-1.
    environ = {**request.environ, "PATH_INFO": request.path_info.encode().decode("latin-1")}
    user = request.META.get("REMOTE_USER")  # or the name of an authenticated request.user
    environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
    answer = images.respond(webob.Request(environ), image_id)
    response = StreamingHttpResponse(answer.app_iter, status=answer.status_code)
    del response["Content-Type"]  # Django's default, which a 304 must not have
    for name, value in answer.headerlist:
        response[name] = value
    return response


# urls.py
urlpatterns = [path("", site), path("download/<image_id>", download)]

# wsgi.py
in_front = imageapi.ImageAPIMiddleware(
    get_wsgi_application(), imageapi.load_config(["imageapi.conf"])
)
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
