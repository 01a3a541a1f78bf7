# SPDX-License-Identifier: Apache-2.0
"""Python's HTTP client, for requests to servers of tests."""

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from urllib3 import HTTPHeaderDict


class Answer(NamedTuple):
    """What a client received.

    :ivar headers: each name occurs once; names are compared without regard to case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def connection(
    port: int, tls: ssl.SSLContext | None = None
) -> Iterator[http.client.HTTPConnection]:
    """A client's connection to a port of loopback, with TLS if there is a context."""
    if tls is None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    else:
        client = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=tls)
    try:
        yield client
    finally:
        client.close()


def connect_with_small_buffer(client: http.client.HTTPConnection) -> None:
    """Connect, so that the server can stop in the middle of a body.

    Otherwise the client's kernel accepts all that the server sends.
    """
    client.connect()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


def begin(
    client: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str
) -> http.client.HTTPResponse:
    """Send a request; returns the answer, its body unread.

    Header names are written with underscores.
    """
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    client.request(method, path, headers=sent)
    return client.getresponse()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    """Send a request on a connection of its own; returns the whole answer."""
    with connection(port) as client:
        response = begin(client, path, method, **headers)
        received = HTTPHeaderDict()
        for name, value in response.getheaders():
            assert name not in received, f"{name} came twice"
            received[name] = value
        return Answer(response.status, received, response.read())
