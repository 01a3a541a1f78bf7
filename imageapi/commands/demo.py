# SPDX-License-Identifier: Apache-2.0
"""The command ``demo``: adds a sample image, serves it over a real socket, and downloads it."""

import argparse
import hashlib
import http.client
import io
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from imageapi.api import ImageAPI
from imageapi.backends.writing import HashingReader
from imageapi.commands import changes
from imageapi.config.files import load_config
from imageapi.image import Image

_IMAGE = Image(
    id="71c675ab-d94f-49cd-a114-e12490b328d9",
    status="active",
    name="Ubuntu 10.04 Plain",
    disk_format="vhd",
    container_format="ovf",
    is_public=True,
    min_ram=256,
    min_disk=5,
    properties={"distro": "Ubuntu 10.04 LTS"},
)

_CONFIG = """\
[imageapi]
[imageapi_registry_file]
directory = {0}/registry
[imageapi_store_file]
directory = {0}/images
"""


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited name
        pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.set_defaults(run=_run)


def _run(_: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="imageapi-demo-") as folder:
        path = _configure(folder)
        api = ImageAPI(load_config([path]))
        image = _add_sample(api)
        with _serving(api) as port:
            return _download(port, image)


def _configure(folder: str) -> str:
    os.mkdir(os.path.join(folder, "registry"))
    os.mkdir(os.path.join(folder, "images"))
    path = os.path.join(folder, "imageapi.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(_CONFIG.format(folder))
    return path


def _add_sample(api: ImageAPI) -> Image:
    data = io.BytesIO(hashlib.shake_256(b"imageapi").digest(3 * 1024 * 1024))
    writers = changes.writers_of(api.backends)
    return changes.add(writers, _IMAGE, HashingReader(data, lambda _: None), checksum=None)


@contextmanager
def _serving(api: ImageAPI) -> Iterator[int]:
    """Serve on a free port of the loopback interface; yield the port."""
    with make_server("127.0.0.1", 0, api, handler_class=_QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
            api.close()


def _download(port: int, image: Image) -> int:
    """Download the image, and print request and response.

    :returns: 0 if the download has the image's checksum, else 1.
    """
    path = f"/v1/images/{image.id}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        data = response.read()
    checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
    print(f"> GET {path} HTTP/1.1\n> Host: 127.0.0.1:{port}\n>")
    print(f"< HTTP/1.1 {response.status} {response.reason}")
    for name, value in response.getheaders():
        print(f"< {name}: {value}")
    print(f"<\n< ({len(data)} bytes)\n")
    matches = response.status == 200 and checksum == image.checksum
    print(f"MD5 of the bytes received: {checksum}")
    print(f"checksum of the image:     {image.checksum}")
    print("The checksums match." if matches else "The checksums differ!")
    return 0 if matches else 1
