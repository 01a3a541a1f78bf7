# SPDX-License-Identifier: Apache-2.0
"""An imageapi to which every caller is an admin: the upstream of another one's lists.

Its images are in memory.  ``PUT /records/ID`` adds one, ``DELETE /records/ID`` removes it, and
``DELETE /records/`` removes all.
"""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import imageapi
from imageapi import Caller, document
from imageapi.testing.fakes import MemoryRegistry

_ADMIN = Caller(user_id="imageapi", project_id="service", roles=("admin",), is_admin=True)
_RECORDS = "/records/"


def build_admin_upstream(config_file: str) -> WSGIApplication:
    """Make the application; gunicorn calls this in its worker."""
    api = imageapi.ImageAPI(imageapi.load_config([config_file]))
    registry = api.backends.registry.backend
    assert isinstance(registry, MemoryRegistry)
    ids: set[str] = set()

    def change(method: str, image_id: str, data: bytes) -> None:
        if method == "PUT":
            registry.put(document.parse(data, image_id))
            ids.add(image_id)
            return
        for one in (image_id,) if image_id else tuple(ids):
            registry.remove(one)
            ids.discard(one)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(_RECORDS):
            environ["imageapi.caller"] = _ADMIN
            return api(environ, start_response)
        data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        change(environ["REQUEST_METHOD"], path.removeprefix(_RECORDS), data)
        start_response("204 No Content", [])
        return []

    return application
