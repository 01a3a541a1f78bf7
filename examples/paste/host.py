# SPDX-License-Identifier: Apache-2.0
"""The host's own parts in api-paste.ini: the identity of the caller, and the site."""

import imageapi


def identity(global_conf):
    def wrap(app):
        def identified(environ, start_response):
            # Set by the middleware that authenticates users. None for an anonymous caller.
            user = environ.get("REMOTE_USER")
            environ["imageapi.caller"] = imageapi.Caller(user_id=user, project_id=user)
            return app(environ, start_response)

        return identified

    return wrap


def site(global_conf):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"the site"]

    return app
