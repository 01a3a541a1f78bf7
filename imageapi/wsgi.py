# SPDX-License-Identifier: Apache-2.0
"""The entry points for WSGI: a ready application, a filter, and Paste's factories for both."""

from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_config import cfg
from webob import Request

from imageapi.api import ImageAPI, answer_over_wsgi
from imageapi.config.files import files_from_environment, load_config, split_paths
from imageapi.errors import ConfigurationError
from imageapi.lazy_api import LazyAPI
from imageapi.protocol.routes import route_of


class ImageAPIMiddleware:
    """Answers GET and HEAD of images, of their lists and of ``/v1``.

    It passes all other requests to the wrapped application.
    """

    def __init__(self, app: WSGIApplication, conf: cfg.ConfigOpts) -> None:
        """Put images in front of an application.

        :param app: receives every other request unchanged.
        :param conf: as for `imageapi.ImageAPI`.
        :raises imageapi.errors.ConfigurationError: the configuration is invalid.
        """
        self.app = app
        self.api = ImageAPI(conf)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            route = route_of(environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""))
            if route is not None and route.is_versioned and self.api.has(route):
                steps = self.api.steps(Request(environ), route)
                return answer_over_wsgi(steps, start_response)
        return self.app(environ, start_response)

    def close(self) -> None:
        """Close the backends, but not the wrapped application, which its owner closes."""
        self.api.close()


#: The application for any WSGI server.  Its configuration files are those in
#: IMAGEAPI_CONFIG_FILE, separated by ``:``.  If that is not set, oslo.config's
#: default files are used.
application = LazyAPI()


def app_factory(global_conf: dict[str, str], **local_conf: str) -> ImageAPI:
    """Paste's ``paste.app_factory``.

    :param local_conf: ``config_file``, one or more paths separated by ``:``.
        Without it, the files in IMAGEAPI_CONFIG_FILE or oslo.config's default
        files are used.
    :raises imageapi.errors.ConfigurationError: a setting is unknown, or the
        configuration is invalid.
    """
    return ImageAPI(_paste_config(local_conf))


def filter_factory(
    global_conf: dict[str, str], **local_conf: str
) -> Callable[[WSGIApplication], ImageAPIMiddleware]:
    """Paste's ``paste.filter_factory``; parameters as for `app_factory`."""
    conf = _paste_config(local_conf)
    return lambda app: ImageAPIMiddleware(app, conf)


def _paste_config(settings: dict[str, str]) -> cfg.ConfigOpts:
    unknown = sorted(set(settings) - {"config_file"})
    if unknown:
        raise ConfigurationError(
            [f"paste: unknown setting {name!r}; only config_file is known" for name in unknown]
        )
    if "config_file" in settings:
        files = split_paths(settings["config_file"])
        if not files:
            raise ConfigurationError(
                ["paste: config_file names no file: set it to paths separated by ':'"]
            )
        return load_config(files)
    return load_config(files_from_environment())
