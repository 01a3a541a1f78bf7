# SPDX-License-Identifier: Apache-2.0
import argparse
from pathlib import Path

import pytest
import trustme

import imageapi
from imageapi.commands.serve_settings import ServeSettings
from imageapi.errors import ConfigurationError


def settings(folder: Path, text: str = "", **flags: object) -> ServeSettings:
    path = folder / "imageapi.conf"
    path.write_text(f"[imageapi_serve]\n{text}\n")
    return ServeSettings.of(imageapi.load_config([path]), argparse.Namespace(**flags))


def problems_of_settings(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        settings(folder, text)
    return list(caught.value.problems)


def test_flag_wins_over_the_option(tmp_path: Path) -> None:
    found = settings(tmp_path, "workers = 3\nthreads = 5", workers=2, threads=None)
    assert (found.workers, found.threads, found.bind) == (2, 5, ["127.0.0.1:9292"])


@pytest.mark.parametrize("address", ["127.0.0.1:80", "[::1]:65535", "images.example.com:9292"])
def test_address(tmp_path: Path, address: str) -> None:
    assert settings(tmp_path, f"bind = {address}").bind == [address]


@pytest.mark.parametrize("address", ["9292", ":9292", "::1:9292", "h:0", "h:65536", "h:x", "h"])
@pytest.mark.parametrize("option", ["bind", "metrics_bind"])
def test_wrong_address(tmp_path: Path, option: str, address: str) -> None:
    (found,) = problems_of_settings(tmp_path, f"{option} = {address}")
    assert found.startswith(f"[imageapi_serve] {option}: {address!r} must be ADDRESS:PORT, such as")


def test_metrics_need_a_port_of_their_own(tmp_path: Path) -> None:
    """The images at this port would be served without TLS."""
    text = "bind = 192.0.2.1:9293, h:1\nmetrics_bind = 127.0.0.1:9293"
    assert problems_of_settings(tmp_path, text) == [
        "[imageapi_serve] metrics_bind: '127.0.0.1:9293' must have another port than bind"
    ]


def test_no_address(tmp_path: Path) -> None:
    assert problems_of_settings(tmp_path, "bind =") == [
        "[imageapi_serve] bind: must name an ADDRESS:PORT"
    ]


def test_certificate(tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    assert settings(tmp_path, f"certificate = {pem}").certificate == str(pem)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        ("nonsense", "must be a PEM file with a certificate"),
    ],
)
def test_wrong_certificate(tmp_path: Path, content: str | None, problem: str) -> None:
    pem = tmp_path / "server.pem"
    if content is not None:
        pem.write_text(content)
    (found,) = problems_of_settings(tmp_path, f"certificate = {pem}")
    assert found.startswith(f"[imageapi_serve] certificate: {pem} ")
    assert problem in found


def test_key_without_a_certificate(tmp_path: Path) -> None:
    assert problems_of_settings(tmp_path, "private_key = k") == [
        "[imageapi_serve] private_key: set certificate too"
    ]


@pytest.mark.parametrize("option", ["log_file", "access_log"])
def test_log_in_a_missing_folder(tmp_path: Path, option: str) -> None:
    path = tmp_path / "absent" / "log"
    (found,) = problems_of_settings(tmp_path, f"{option} = {path}")
    told = f"[imageapi_serve] {option}: {path} cannot be written: create the folder {path.parent}"
    assert found == told
