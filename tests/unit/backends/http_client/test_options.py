# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from imageapi import Caller
from imageapi.backends.http.store import HTTPStore
from imageapi.backends.http_client.client import Upstream
from imageapi.backends.http_client.options import RECORD_TTL, Seconds, token_headers
from imageapi.errors import ConfigurationError
from imageapi.testing.suite import build


@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "86401", "soon"])
def test_a_timeout_is_a_number_of_seconds_up_to_a_day(text: str) -> None:
    assert Seconds()("0.5") == 0.5
    with pytest.raises(ValueError, match=r"."):
        Seconds()(text)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("2.5", 2.5), ("60", 60)])
def test_records_are_remembered_for_some_seconds_or_not_at_all(text: str, seconds: float) -> None:
    assert RECORD_TTL.type(text) == seconds
    assert RECORD_TTL.default == 0


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "86401", "1h"])
def test_records_are_remembered_for_a_day_at_most(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RECORD_TTL.type(text)


def problems_of_options(**options: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        build(HTTPStore, **options)
    return list(caught.value.problems)


def test_a_key_needs_its_certificate() -> None:
    assert problems_of_options(key_file="key.pem") == ["key_file: set cert_file too"]


def test_the_option_of_an_unusable_certificate_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    wrong, absent = str(tmp_path / "no.pem"), str(tmp_path / "absent.pem")
    certificate = "a certificate in PEM, and its unencrypted key unless key_file names the key's"
    authorities = "CA certificates in PEM"
    for option, content in (("ca_file", authorities), ("cert_file", f"{certificate} file")):
        assert problems_of_options(**{option: wrong}) == [
            f"{option}: {wrong}: not usable; it must hold {content}"
        ]
        assert problems_of_options(**{option: absent}) == [
            f"{option}: {absent}: No such file or directory; it must hold {content}"
        ]
    (problem,) = problems_of_options(cert_file=wrong, key_file=absent)
    assert problem.startswith(f"key_file: {absent}: No such file or directory; it must hold the")
    (problem,) = problems_of_options(cert_file=wrong, key_file=wrong)
    assert problem.startswith(f"cert_file: {wrong} with key_file = {wrong}: not usable;")


@pytest.mark.parametrize(
    "url", ["proxy:3128", "ftp://proxy", "http://proxy/path", "http://user:s3cret\udc80@proxy"]
)
def test_an_invalid_proxy_is_refused_without_its_password(url: str) -> None:
    (problem,) = problems_of_options(proxy=url)
    assert problem == "proxy: must be a URL such as http://proxy.example.com:3128"


def test_the_password_of_a_proxy_is_sent_and_not_shown() -> None:
    store = build(HTTPStore, proxy="http://user:s3cret@proxy:3128")
    upstream: Upstream = store._upstream
    proxy = upstream._settings.proxy
    assert proxy is not None
    assert proxy["proxy_url"] == "http://proxy:3128"
    assert proxy["proxy_headers"] == {"proxy-authorization": "Basic dXNlcjpzM2NyZXQ="}
    assert repr(upstream._settings) == "<UpstreamSettings>"
    store.close()


@pytest.mark.parametrize(
    ("auth", "token", "headers"),
    [
        ("caller", "t0ken", {"X-Auth-Token": "t0ken"}),
        ("caller", "two\r\nlines", {}),
        ("caller", None, {}),
        ("none", "t0ken", {}),
    ],
)
def test_the_callers_token_is_sent_only_if_configured(
    auth: str, token: str | None, headers: dict[str, str]
) -> None:
    assert token_headers(auth, Caller(token=token)) == headers
