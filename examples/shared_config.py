# SPDX-License-Identifier: Apache-2.0
"""imageapi in an application that has oslo.config options of its own, in the same file.

In a folder with an imageapi.conf, which may have a section [myservice] too:

    gunicorn --worker-class gthread --threads 8 --no-control-socket shared_config:application

Images are at /v1/images/{image_id}, and the application's greeting is everywhere else.
"""

from oslo_config import cfg

import imageapi

OPTIONS = [cfg.StrOpt("greeting", default="the site", help="What visitors are told.")]

conf = cfg.ConfigOpts()  # or cfg.CONF, where the application uses it
conf.register_opts(OPTIONS, group="myservice")
conf(["--config-file", "imageapi.conf"], project="myservice")


def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=UTF-8")])
    return [conf.myservice.greeting.encode()]


application = imageapi.ImageAPIMiddleware(site, conf)
