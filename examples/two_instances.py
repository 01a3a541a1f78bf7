# SPDX-License-Identifier: Apache-2.0
"""Two instances of imageapi, each with its own configuration, in one process.

In a folder with an imageapi.conf, and a partners.conf for the second instance:

    gunicorn --worker-class gthread --threads 8 --no-control-socket two_instances:application

The images of the first are at /v1/images/{image_id}, and those of the second at
/partners/v1/images/{image_id}.
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
