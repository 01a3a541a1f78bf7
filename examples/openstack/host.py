# SPDX-License-Identifier: Apache-2.0
"""The parts of the host that api-paste.ini names: the log, and what it says of a request."""

from oslo_config import cfg
from oslo_context.context import RequestContext
from oslo_log import log


def context(global_conf):
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    conf([], project="imageapi", default_config_files=[f"{global_conf['here']}/imageapi.conf"])
    log.setup(conf, "imageapi")

    def wrap(app):
        def with_context(environ, start_response):
            # For the log only: the request id, and the user and project that keystonemiddleware
            # has verified. imageapi reads the caller itself. The log needs no tokens. oslo.log
            # finds the context when imageapi logs, in this thread, until the next request.
            RequestContext.from_environ(environ, auth_token=None, service_token=None)
            return app(environ, start_response)

        return with_context

    return wrap
