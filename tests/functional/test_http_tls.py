# SPDX-License-Identifier: Apache-2.0
"""The HTTP backends with a real nginx: TLS, redirects, many threads, and gevent."""

import hashlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from imageapi.backends.http.store import HTTPStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable
from imageapi.testing.suite import build
from tests.functional.nginx import nginx
from tests.functional.raw_server import RawServer, Request

DATA = os.urandom(3_000_000)

REDIRECTS = """\
location /moved/ { rewrite ^/moved/(.*)$ /images/$1 redirect; }
location /slow/ { rewrite ^/slow/(.*)$ /images/$1 break; limit_rate 6m; }
location /circle { return 302 /circle; }
location /away { return 302 https://localhost:1/images/i; }
"""


class Pki:
    """A certificate authority of the test, and certificates of a server and a client."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca))
        server = authority.issue_cert("localhost")
        self.server = folder / "server.pem"
        server.private_key_and_cert_chain_pem.write_to_path(str(self.server))
        self.expired = folder / "expired.pem"
        old = authority.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
        old.private_key_and_cert_chain_pem.write_to_path(str(self.expired))
        client = authority.issue_cert("client@example.com")
        self.client = folder / "client.pem"
        client.private_key_and_cert_chain_pem.write_to_path(str(self.client))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def web_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "images").mkdir()
    (folder / "images" / "i").write_bytes(DATA)
    os.utime(folder / "images" / "i", (1_000_000_000,) * 2)
    return folder


def tls_lines(certificate: Path, more: str = "") -> str:
    return f"ssl_certificate {certificate};\nssl_certificate_key {certificate};\n{more}"


@pytest.fixture(scope="module")
def tls_port(web_files: Path, pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    state = tmp_path_factory.mktemp("nginx")
    with nginx(web_files, state, server=tls_lines(pki.server, REDIRECTS), tls=True) as port:
        yield port


def store_at(port: int, path: str = "images", host: str = "localhost", **options: Any) -> HTTPStore:
    url = f"https://{host}:{port}"
    return build(
        HTTPStore,
        allowed_urls=[f"{url}/{name}" for name in ("images", "moved", "circle", "away")],
        url_template=f"{url}/{path}/{{image_id}}",
        **options,
    )


def read_and_close(store: HTTPStore, start: int = 0) -> bytes:
    blob = store.open(store.locate("i"), start=start, caller=ANONYMOUS)
    try:
        return b"".join(blob)
    finally:
        blob.close()
        store.close()


def test_trusted_by_a_file(tls_port: int, pki: Pki) -> None:
    assert read_and_close(store_at(tls_port, ca_file=str(pki.ca))) == DATA
    assert read_and_close(store_at(tls_port, ca_file=str(pki.ca)), 1_000_000) == DATA[1_000_000:]


def test_not_trusted_without(tls_port: int) -> None:
    with pytest.raises(BackendUnavailable, match="TLS connection failed"):
        read_and_close(store_at(tls_port))


def test_name_that_the_certificate_does_not_have(tls_port: int, pki: Pki) -> None:
    with pytest.raises(BackendUnavailable, match=r"TLS connection failed.*mismatch"):
        read_and_close(store_at(tls_port, host="127.0.0.1", ca_file=str(pki.ca)))


def test_certificate_that_has_expired(web_files: Path, pki: Pki, tmp_path: Path) -> None:
    with (
        nginx(web_files, tmp_path, server=tls_lines(pki.expired), tls=True) as port,
        pytest.raises(BackendUnavailable, match=r"TLS connection failed.*expired"),
    ):
        read_and_close(store_at(port, ca_file=str(pki.ca)))


def test_certificate_of_ours(web_files: Path, pki: Pki, tmp_path: Path) -> None:
    wants = f"ssl_client_certificate {pki.ca};\nssl_verify_client on;\n"
    with nginx(web_files, tmp_path, server=tls_lines(pki.server, wants), tls=True) as port:
        ours = {"ca_file": str(pki.ca), "cert_file": str(pki.client)}
        assert read_and_close(store_at(port, **ours)) == DATA
        with pytest.raises(Exception, match="status 400"):
            read_and_close(store_at(port, ca_file=str(pki.ca)))


def test_plain_http_where_tls_is_spoken(tls_port: int) -> None:
    url = f"http://localhost:{tls_port}"
    store = build(HTTPStore, allowed_urls=[url], url_template=f"{url}/images/{{image_id}}")
    with pytest.raises(Exception, match="status 400"):
        read_and_close(store)


def test_redirects(tls_port: int, pki: Pki) -> None:
    assert read_and_close(store_at(tls_port, "moved", ca_file=str(pki.ca))) == DATA
    for path, told in (("circle", "more than 5 redirects"), ("away", "not below any of")):
        with pytest.raises(Exception, match=told):
            read_and_close(store_at(tls_port, path, ca_file=str(pki.ca)))


def test_through_a_proxy(tls_port: int, pki: Pki) -> None:
    """TLS goes through a tunnel: the proxy sees neither token nor data."""
    asked: list[str] = []

    def connect(request: Request, connection: socket.socket) -> bool:
        asked.append(f"{request.method} {request.target}")
        asked.append(request.headers["proxy-authorization"])
        with socket.create_connection(("127.0.0.1", tls_port)) as upstream:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _copy_both_ways(connection, upstream)
        return False

    with RawServer(connect) as proxy:
        url = proxy.url.replace("//", "//user:password@")
        assert read_and_close(store_at(tls_port, ca_file=str(pki.ca), proxy=url)) == DATA
    assert asked == [f"CONNECT localhost:{tls_port}", "Basic dXNlcjpwYXNzd29yZA=="]


def _copy_both_ways(one: socket.socket, other: socket.socket) -> None:
    while True:
        ready, _, _ = select.select([one, other], [], [], 20)
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (other if source is one else one).sendall(data)


def test_proxy_that_is_not_there(tls_port: int, pki: Pki) -> None:
    with pytest.raises(BackendUnavailable, match="through the proxy"):
        read_and_close(
            store_at(tls_port, ca_file=str(pki.ca), proxy="http://user:s3cret@127.0.0.1:1")
        )


def test_many_threads(tls_port: int, pki: Pki) -> None:
    store = store_at(tls_port, ca_file=str(pki.ca), pool_size=4)
    wanted = hashlib.md5(DATA).digest()
    got = []

    def download() -> None:
        for _ in range(5):
            blob = store.open(store.locate("i"), caller=ANONYMOUS)
            got.append(hashlib.md5(b"".join(blob)).digest() == wanted)
            blob.close()

    threads = [threading.Thread(target=download) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    store.close()
    assert got == [True] * 60


GEVENT = """\
from gevent import monkey

monkey.patch_all()

import hashlib
import sys

import gevent

from imageapi.backends.http.store import HTTPStore
from imageapi.caller import ANONYMOUS
from imageapi.testing.suite import build

url, ca_file = sys.argv[1:]
store = build(
    HTTPStore, allowed_urls=[url], url_template=url + "/{image_id}", ca_file=ca_file, pool_size=4
)
order = []


def download(number):
    blob = store.open(store.locate("i"), caller=ANONYMOUS)
    digest = hashlib.md5()
    for chunk in blob:
        digest.update(chunk)
        order.append(number)
    blob.close()
    return digest.hexdigest()


jobs = [gevent.spawn(download, number) for number in range(10)]
gevent.joinall(jobs, timeout=60, raise_error=True)
store.close()
# They took turns, rather than one after the other.
assert order != sorted(order, key=order.index)
print(*{job.value for job in jobs})
"""


def test_gevent(tls_port: int, pki: Pki) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GEVENT, f"https://localhost:{tls_port}/slow", str(pki.ca)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.stdout.strip(), done.stderr) == (hashlib.md5(DATA).hexdigest(), "")
