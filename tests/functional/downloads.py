# SPDX-License-Identifier: Apache-2.0
"""The downloads that are tried with each WSGI server. Each returns its outcome as a word."""

import hashlib
import http.client
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deployment import Deployment
from tests.functional.http_client import begin, connect_with_small_buffer
from tests.functional.raw_server import RawServer, Request
from tests.functional.servers import Running
from tests.functional.waiting import becomes_true

SIZE = 100 * 1024 * 1024
DATA = os.urandom(1024 * 1024) * 100
MD5 = hashlib.md5(DATA).hexdigest()

# The size of the images whose data ends early.
LENGTH = 8 * 1024 * 1024


@contextmanager
def large_images(folder: Path) -> Iterator[Deployment]:
    """A deployment with an image of 100 MiB, and with images that no client can complete."""
    deployment = Deployment(folder)
    with RawServer(_half) as upstream:
        deployment.configure(
            core="stores = file, upstream:http",
            more=f"[imageapi_store_upstream]\nallowed_urls = {upstream.url}",
        )
        deployment.add("image", DATA)
        deployment.add("damaged", DATA[:LENGTH], checksum="0" * 32)
        for image_id, size in (("short", LENGTH), ("sizeless", None)):
            location = f"{upstream.url}/{image_id}"
            deployment.record(image_id, size=size, checksum=MD5, location=location)
        yield deployment


def _half(request: Request, connection: socket.socket) -> None:
    """An upstream that closes the connection in the middle of what it sends."""
    half = DATA[: LENGTH // 2]
    if request.target == "/short":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LENGTH)
        connection.sendall(half)
    else:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"%x\r\n%s\r\n" % (len(half), half))


def whole(server: Running, deployment: Deployment) -> str:
    with server.connection() as connection:
        response = begin(connection, "/v1/images/image")
        assert response.getheader("Content-Length") == str(SIZE)
        return "whole" if response.read() == DATA else "other bytes"


def a_range(server: Running, deployment: Deployment) -> str:
    with server.connection() as connection:
        response = begin(connection, "/v1/images/image", Range="bytes=1000000-8999999")
        assert response.getheader("Content-Range") == f"bytes 1000000-8999999/{SIZE}"
        right = response.read() == DATA[1_000_000:9_000_000]
        return str(response.status) if right else "other bytes"


def head_only(server: Running, deployment: Deployment) -> str:
    with server.connection() as connection:
        response = begin(connection, "/v1/images/image", "HEAD")
        assert response.getheader("Etag") == MD5
        length = response.getheader("Content-Length")
        word = str(response.status) if length == str(SIZE) else f"length {length}"
        return word if response.read() == b"" and _next(connection) != "garbled" else "garbled"


def not_modified(server: Running, deployment: Deployment) -> str:
    with server.connection() as connection:
        response = begin(connection, "/v1/images/image", If_None_Match=f'"{MD5}"')
        assert response.getheader("Etag") == MD5
        word = str(response.status)
        return word if response.read() == b"" and _next(connection) != "garbled" else "garbled"


def two_on_a_connection(server: Running, deployment: Deployment) -> str:
    with server.connection() as connection:
        response = begin(connection, "/v1/images/image", Range="bytes=0-99")
        assert response.read() == DATA[:100]
        return _next(connection)


def _next(connection: http.client.HTTPConnection) -> str:
    """What happens to the next request on a connection after the end of an answer."""
    if connection.sock is None:
        return "closes, and says so"
    try:
        response = begin(connection, "/v1/images/image", Range="bytes=100-199")
        return "both" if response.read() == DATA[100:200] else "garbled"
    except ConnectionError:
        return "closes"
    except http.client.HTTPException:
        return "garbled"


def client_leaves(server: Running, deployment: Deployment) -> str:
    data = deployment.data_path("image")
    with server.connection() as connection:
        connect_with_small_buffer(connection)
        response = begin(connection, "/v1/images/image")
        assert response.read(1_000_000) == DATA[:1_000_000]
        opened = server.open_on(data)
        response.close()
    if not opened:
        return "read ahead"
    return "closed" if becomes_true(lambda: not server.open_on(data)) else "left open"


def end_of_download(server: Running, image_id: str) -> str:
    """How the download of an image with wrong or missing data ends."""
    with server.connection() as connection:
        response = begin(connection, f"/v1/images/{image_id}")
        assert response.status == 200
        try:
            response.read()
        except (http.client.IncompleteRead, ConnectionError):
            return "broken off"
        except TimeoutError:
            return "hangs"
    return "looks complete"


def ends_early(server: Running, deployment: Deployment) -> str:
    return end_of_download(server, "short")


def ends_early_without_length(server: Running, deployment: Deployment) -> str:
    return end_of_download(server, "sizeless")


def wrong_checksum(server: Running, deployment: Deployment) -> str:
    return end_of_download(server, "damaged")


#: The downloads, by the heads of the table's columns.
DOWNLOADS: dict[str, Callable[[Running, Deployment], str]] = {
    "100 MiB": whole,
    "a range": a_range,
    "HEAD": head_only,
    "`If-None-Match`": not_modified,
    "two requests on a connection": two_on_a_connection,
    "the data, when a client leaves": client_leaves,
    "wrong checksum": wrong_checksum,
    "data that ends early": ends_early,
    "data of unknown size that ends early": ends_early_without_length,
}

#: The outcomes that are right, by the same heads.
ACCEPTED = {
    "100 MiB": {"whole"},
    "a range": {"206"},
    "HEAD": {"200"},
    "`If-None-Match`": {"304"},
    "two requests on a connection": {"both", "closes", "closes, and says so"},
    "the data, when a client leaves": {"closed"},
    "wrong checksum": {"broken off"},
    "data that ends early": {"broken off"},
    "data of unknown size that ends early": {"broken off"},
}
