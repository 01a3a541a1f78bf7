# SPDX-License-Identifier: Apache-2.0
"""A folder with a configuration, records and data, and requests to its application in process."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import webob

import imageapi
from imageapi import Caller
from imageapi.backends.file.folder import file_name
from imageapi.errors import BackendError

CONFIG = """\
[imageapi]
{core}
[imageapi_registry_file]
directory = {folder}/registry
[imageapi_store_file]
directory = {folder}/images
{more}
"""


class Deployment:
    """A configuration, records and data in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = folder / "registry"
        self.images = folder / "images"
        self.config_file = folder / "imageapi.conf"
        self.registry.mkdir(parents=True)
        self.images.mkdir()
        self.configure()

    def configure(self, core: str = "", more: str = "") -> None:
        """Write the configuration; ``core`` is the text of [imageapi]."""
        self.config_file.write_text(CONFIG.format(core=core, more=more, folder=self.folder))

    def api(self) -> imageapi.ImageAPI:
        """The application, for the test to close."""
        return imageapi.ImageAPI(imageapi.load_config([str(self.config_file)]))

    def record(self, image_id: str, **fields: Any) -> None:
        """Write the record of an active public image. A field that is None is left out."""
        document: dict[str, Any] = {"status": "active", "is_public": True, **fields}
        document = {name: value for name, value in document.items() if value is not None}
        self.record_path(image_id).write_text(json.dumps(document))

    def add(self, image_id: str, data: bytes, **fields: Any) -> None:
        """Write an active public image, its data and its record."""
        self.data_path(image_id).write_bytes(data)
        hashes = {
            "size": len(data),
            "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        }
        self.record(image_id, **{**hashes, **fields})

    def file_names(self) -> list[str]:
        """The names of all files of data and records, sorted."""
        return sorted(os.listdir(self.images) + os.listdir(self.registry))

    def record_path(self, image_id: str) -> Path:
        return self.registry / f"{file_name(image_id)}.json"

    def data_path(self, image_id: str) -> Path:
        return self.images / file_name(image_id)


def send(
    api: Any, path: str, method: str, headers: Mapping[str, str], caller: Caller | None = None
) -> webob.Response:
    """Send a request in process.  Header names are written with underscores."""
    request = webob.Request.blank(path, method=method)
    request.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
    if caller is not None:
        request.environ["imageapi.caller"] = caller
    return request.send(api)


def get(api: Any, path: str, method: str = "GET", **headers: str) -> webob.Response:
    """Send a request of an anonymous caller in process."""
    return send(api, path, method, headers)


def close(response: webob.Response) -> None:
    """Close a body, as a server does."""
    if hasattr(response.app_iter, "close"):
        response.app_iter.close()


def received_of(response: webob.Response) -> tuple[bytes, bool]:
    """The bytes that a client receives, and whether the body ends without an error."""
    received = b""
    try:
        for chunk in response.app_iter:
            received += chunk
    except BackendError:
        return received, False
    finally:
        close(response)
    return received, True


def served_data(config_file: Path) -> bytes:
    """The body that an application with this configuration answers for the image ``i``."""
    with closing(imageapi.ImageAPI(imageapi.load_config([str(config_file)]))) as api:
        body: bytes = get(api, "/v1/images/i").body
        return body
