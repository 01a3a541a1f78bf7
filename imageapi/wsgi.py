# SPDX-License-Identifier: Apache-2.0
"""The door for WSGI: a ready application, a filter, and Paste's factories for both."""

from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_config import cfg
from webob import Request

from imageapi import lazy_api
from imageapi.api import ImageAPI, start
from imageapi.config.files import files_from_environment, load_config, split_paths
from imageapi.errors import ConfigurationError
from imageapi.protocol.routes import image_id_of


class ImageAPIMiddleware:
    """Answers GET and HEAD of an image; all else reaches the wrapped application."""

    def __init__(self, app: WSGIApplication, conf: cfg.ConfigOpts) -> None:
        """Put images in front of an application.

        :param app: gets every other request, untouched.
        :param conf: as for `imageapi.ImageAPI`.
        :raises imageapi.errors.ConfigurationError: all that is wrong with it.
        """
        self.app = app
        self.api = ImageAPI(conf)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            image_id = image_id_of(environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""))
            if image_id is not None:
                return start(self.api.respond(Request(environ), image_id), start_response)
        return self.app(environ, start_response)

    def close(self) -> None:
        """Close the backends; the wrapped application is its owner's."""
        self.api.close()


class _LazyApplication:
    """An `ImageAPI` that is built at the first request, after any fork."""

    def __init__(self) -> None:
        self._api = lazy_api.LazyAPI()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            api = self._api.get()
        except ConfigurationError as error:
            return start(lazy_api.not_configured(Request(environ), error), start_response)
        return api(environ, start_response)


#: For any WSGI server: configured by the files in IMAGEAPI_CONFIG_FILE,
#: separated by ``:``, else by oslo.config's usual places.
application = _LazyApplication()


def app_factory(global_conf: dict[str, str], **local_conf: str) -> ImageAPI:
    """Paste's ``paste.app_factory``.

    :param local_conf: ``config_file``, one or more paths separated by ``:``;
        without it IMAGEAPI_CONFIG_FILE or the usual places hold.
    :raises imageapi.errors.ConfigurationError: an unknown setting, or what
        `imageapi.ImageAPI` refuses.
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
            [f"paste: there is no setting {name!r}; there is config_file" for name in unknown]
        )
    if "config_file" in settings:
        files = split_paths(settings["config_file"])
        if not files:
            raise ConfigurationError(["paste: config_file names no file"])
        return load_config(files)
    return load_config(files_from_environment())
