# SPDX-License-Identifier: Apache-2.0
"""A real Swift behind TLS: the login and the data trust the same certificates."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

from imageapi.backends.swift.store import SwiftStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable
from imageapi.testing.suite import build
from tests.functional.nginx import nginx
from tests.functional.swift import running_swift, v1_options

DATA = bytes(range(256)) * 10_000

SERVER = """\
ssl_certificate {certificate};
ssl_certificate_key {certificate};
ssl_protocols TLSv1.2;
location / {{
    proxy_pass {swift};
    proxy_set_header Host localhost:PORT;
}}
"""


class Tls(NamedTuple):
    """The URL of a Swift, the options to log in, and the authority of its certificate."""

    url: str
    authority: Path
    options: dict[str, Any]

    def read(self, **options: Any) -> bytes:
        given = {**self.options, **options}
        if given["auth_type"] == "none":
            given = {"endpoint_override": given["endpoint_override"], **options}
        store = build(SwiftStore, container="images", **given)
        try:
            with closing(store.open(store.locate("i"), caller=ANONYMOUS)) as blob:
                return b"".join(blob)
        finally:
            store.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    folder = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = folder / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    state = tmp_path_factory.mktemp("nginx")
    with running_swift(tmp_path_factory.mktemp("swift")) as swift:
        with closing(swift.client()) as client:
            client.put_container("images")
            client.put_object("images", "i", DATA)
        server = SERVER.format(certificate=certificate, swift=swift.url)
        with nginx(folder, state, server=server, tls=True) as port:
            url = f"https://localhost:{port}"
            options = {
                **v1_options(swift),
                "auth_url": f"{url}/auth/v1.0",
                "endpoint_override": f"{url}/v1/AUTH_acme",
            }
            yield Tls(url, folder / "ca.pem", options)


def test_authority_that_is_trusted(tls: Tls) -> None:
    assert tls.read(cafile=str(tls.authority)) == DATA


@pytest.mark.parametrize("path", ["auth_url", "endpoint_override"])
def test_authority_that_is_not_trusted(tls: Tls, path: str, monkeypatch: Any) -> None:
    """The authority of the server for logins, and of the server for data."""
    # Variables of the environment that requests would use.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.authority))
    options = {} if path == "auth_url" else {"auth_type": "none"}
    with pytest.raises(
        BackendUnavailable, match=r"https://localhost:\d+/.*: the TLS connection failed"
    ):
        tls.read(**options)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_insecure(tls: Tls) -> None:
    assert tls.read(insecure=True) == DATA


def test_too_old_a_protocol(tls: Tls) -> None:
    assert tls.read(cafile=str(tls.authority), tls_min_version="1.2") == DATA
    with pytest.raises(BackendUnavailable, match="the TLS connection failed"):
        tls.read(cafile=str(tls.authority), tls_min_version="1.3")


def test_proxies_of_the_environment_are_not_used(tls: Tls, monkeypatch: Any) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    assert tls.read(cafile=str(tls.authority)) == DATA
