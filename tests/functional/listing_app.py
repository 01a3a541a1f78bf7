# SPDX-License-Identifier: Apache-2.0
"""An application with images in memory, which knows its callers by their tokens.

It plays the authentication in front of imageapi. It is only for tests.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import imageapi
from imageapi import Caller
from imageapi.testing.fakes import MemoryRegistry, MemoryStore
from tests.memory import image_of

CALLERS = {
    "user": Caller(user_id="u1", project_id="p1", roles=("member",)),
    "admin": Caller(user_id="root", project_id="p0", roles=("admin",), is_admin=True),
}


def data_of(image: dict[str, Any]) -> bytes:
    """The data of an image of the settings."""
    return bytes(image["id"], "utf-8") * 1_000


def build_listing(settings_file: str) -> WSGIApplication:
    """Make the application; gunicorn calls this in its worker.

    :param settings_file: JSON; the file of the configuration (``config_file``), and the fields of
        the images.
    """
    settings = json.loads(Path(settings_file).read_text())
    api = imageapi.ImageAPI(imageapi.load_config([settings["config_file"]]))
    registry = api.backends.registry.backend
    store = api.backends.stores[0].backend
    assert isinstance(registry, MemoryRegistry)
    assert isinstance(store, MemoryStore)
    for image in settings["images"]:
        store.put(image["id"], data_of(image))
        members = frozenset(image.get("members", ()))
        registry.put(image_of(data_of(image), **{**image, "members": members}))

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["imageapi.caller"] = CALLERS.get(environ.get("HTTP_X_AUTH_TOKEN", ""), Caller())
        return api(environ, start_response)

    return application
