# SPDX-License-Identifier: Apache-2.0
import os
import socket
import ssl
from collections.abc import Iterable, Iterator

import pytest

from imageapi.backends.http_client.client import NotReached, Upstream, read_small
from imageapi.backends.http_client.options import UpstreamSettings
from imageapi.backends.http_client.urls import Url
from imageapi.errors import BackendUnavailable, BadReply
from tests.functional.raw_server import RawServer, Request, closed_by_client
from tests.functional.servers import free_port
from tests.unit.backends.upstream import response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
URL = Url.parse("http://host/a?signature=s3cret")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream(UpstreamSettings(60, 60, 1, ssl.create_default_context()))
    yield upstream
    upstream.close()


def status_of_put(upstream: Upstream, url: str, body: bytes | Iterable[bytes] | None = None) -> int:
    answer = upstream.request("PUT", Url.parse(url), {}, body)
    read_small(answer, URL, 100)
    return answer.status


@pytest.mark.parametrize(("body", "is_sent_again"), [(b"x", True), (iter([b"x"]), False)])
def test_only_a_body_in_memory_is_sent_again_after_a_kept_connection_was_closed(
    upstream: Upstream, body: bytes | Iterable[bytes], is_sent_again: bool
) -> None:
    answered: list[str] = []

    def answer(request: Request, connection: socket.socket) -> bool:
        answered.append(request.target)
        if len(answered) == 2:
            return False
        connection.sendall(OK)
        return True

    with RawServer(answer) as server:
        assert status_of_put(upstream, f"{server.url}/first") == 200
        if is_sent_again:
            assert status_of_put(upstream, f"{server.url}/second", body) == 200
        else:
            with pytest.raises(NotReached):
                status_of_put(upstream, f"{server.url}/second", body)
        upstream.close()
    assert answered == ["/first", "/second", "/second"][: 2 + is_sent_again]


def test_the_error_of_a_refused_connection_shows_no_query(upstream: Upstream) -> None:
    port = free_port()
    with pytest.raises(NotReached) as caught:
        status_of_put(upstream, f"http://127.0.0.1:{port}/a?signature=s3cret")
    assert str(caught.value) == f"http://127.0.0.1:{port}/a cannot be reached: Connection refused"


def test_a_server_that_sends_nothing_is_unavailable() -> None:
    upstream = Upstream(UpstreamSettings(60, 0.1, 1, ssl.create_default_context()))
    with RawServer(lambda _request, connection: closed_by_client(connection, 30)) as server:
        with pytest.raises(BackendUnavailable, match="timed out while connecting or receiving"):
            status_of_put(upstream, server.url)
        upstream.close()


def test_a_child_process_opens_connections_of_its_own(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Request, connection: socket.socket) -> bool:
        connection.sendall(OK)
        return True

    with RawServer(answer) as server:
        status_of_put(upstream, server.url)
        parent = upstream._pools
        monkeypatch.setattr(os, "getpid", lambda: -1)
        status_of_put(upstream, server.url)
        assert server.accepted == 2
        upstream.close()
        monkeypatch.undo()
        # As the parent would: `close` in the child leaves its connections open.
        for key in parent.pools.keys():  # noqa: SIM118 - it refuses iteration
            parent.pools[key].close()


def test_a_small_body_has_a_limit() -> None:
    assert read_small(response(200, b"12345"), URL, 5) == b"12345"
    with pytest.raises(BadReply, match="more than the limit of 5 bytes"):
        read_small(response(200, b"123456"), URL, 5)
    # The text of an error is not needed completely.
    assert read_small(response(404, b"123456"), URL, 5)


def test_a_compressed_small_body_is_refused_and_closed() -> None:
    answer = response(200, b"12345", Content_Encoding="gzip")
    with pytest.raises(BadReply, match="Content-Encoding"):
        read_small(answer, URL, 5)
    assert answer.closed
