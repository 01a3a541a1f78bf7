# SPDX-License-Identifier: Apache-2.0
"""Two instances of imageapi, each with a configuration of its own, in one process.

In a folder with an imageapi.conf, and a partners.conf for the other:

    gunicorn --worker-class gthread --threads 8 --no-control-socket two_instances:application

Images are at /v1/images/{image_id} and at /partners/v1/images/{image_id}.
"""

import imageapi

ours = imageapi.ImageAPI(imageapi.load_config(["imageapi.conf"]))
partners = imageapi.ImageAPI(imageapi.load_config(["partners.conf"]))


def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/partners/"):
        environ["SCRIPT_NAME"] += "/partners"
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/partners")
        return partners(environ, start_response)
    return ours(environ, start_response)
