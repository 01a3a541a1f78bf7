# SPDX-License-Identifier: Apache-2.0
"""imageapi and an application with its own oslo.config options, in one configuration file.

In a folder with an imageapi.conf, which may also have a section [myservice]:

    gunicorn --worker-class gthread --threads 8 --no-control-socket shared_config:application

Images are at /v1/images/{image_id}. All other paths return the application's greeting.
"""

from oslo_config import cfg

import imageapi

OPTIONS = [cfg.StrOpt("greeting", default="the site", help="The text that visitors get.")]

conf = cfg.ConfigOpts()  # or cfg.CONF, if the application uses it
conf.register_opts(OPTIONS, group="myservice")
conf(["--config-file", "imageapi.conf"], project="myservice")


def site(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=UTF-8")])
    return [conf.myservice.greeting.encode()]


application = imageapi.ImageAPIMiddleware(site, conf)
