# SPDX-License-Identifier: Apache-2.0
"""The host's own filter in api-paste.ini: it sets up the log, and the identity of the caller."""

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
            # Set by the middleware that authenticates users. None for an anonymous caller.
            user = environ.get("REMOTE_USER")
            # imageapi believes this caller before all others. keystonemiddleware in the
            # pipeline must decide instead: see the example openstack beside this folder.
            if "keystone.token_auth" not in environ:
                environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
            # oslo.log finds it when imageapi logs, in this thread, until the next request.
            RequestContext(
                user_id=user, project_id=user, request_id=environ["openstack.request_id"]
            )
            return app(environ, start_response)

        return with_context

    return wrap
