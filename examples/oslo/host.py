# SPDX-License-Identifier: Apache-2.0
"""What api-paste.ini names of the host's own: the log, and who asks."""

from oslo_config import cfg
from oslo_context.context import RequestContext
from oslo_log import log

import imageapi


def context(global_conf):
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf([], project="imageapi", default_config_files=[f"{global_conf['here']}/imageapi.conf"])
    log.setup(conf, "imageapi")

    def wrap(app):
        def with_context(environ, start_response):
            # From whatever authenticates users in front of this; None where nobody is logged in.
            user = environ.get("REMOTE_USER")
            environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
            # oslo.log finds it when imageapi logs, in this thread, until the next request.
            RequestContext(
                user_id=user, project_id=user, request_id=environ["openstack.request_id"]
            )
            return app(environ, start_response)

        return with_context

    return wrap
