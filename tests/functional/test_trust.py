# SPDX-License-Identifier: Apache-2.0
"""Data is replaced, but keeps the validator of the verified version: when this is noticed."""

import mmap
import os
from pathlib import Path

import pytest

import imageapi
from tests.deployment import Deployment, get, received_of
from tests.functional.nginx import nginx

DATA = b"x" + os.urandom(299_999)
OTHER = bytes(reversed(DATA))
CHUNK = 65536


def data_from(api: imageapi.ImageAPI) -> bytes:
    """The bytes of image ``i`` that arrive until the body ends or is broken off."""
    response = get(api, "/v1/images/i")
    assert response.status_code == 200
    return received_of(response)[0]


@pytest.fixture
def web_server(tmp_path: Path) -> Path:
    """The folder of a web server with the data of ``i``, last modified long ago."""
    folder = tmp_path / "web"
    folder.mkdir()
    replace(folder, DATA)
    return folder


def replace(folder: Path, data: bytes) -> None:
    """Replace the data, but keep its time, and so its ETag."""
    (folder / "i").write_bytes(data)
    os.utime(folder / "i", (1, 1))


def over_http(deployment: Deployment, port: int, more: str = "") -> imageapi.ImageAPI:
    url = f"http://127.0.0.1:{port}"
    deployment.configure(
        core=f"stores = http\nchunk_size = {CHUNK}",
        more=f"[imageapi_store_http]\nallowed_urls = {url}\nurl_template = {url}/{{image_id}}\n"
        + more,
    )
    return deployment.api()


@pytest.mark.parametrize(
    ("more", "is_trusted"),
    [("", False), ("trust_validators = false", False), ("trust_validators = true", True)],
)
def test_web_server_with_other_bytes_under_one_etag(
    deployment: Deployment, web_server: Path, tmp_path: Path, more: str, is_trusted: bool
) -> None:
    state = tmp_path / "nginx"
    state.mkdir()
    deployment.add("i", DATA)
    with nginx(web_server, state) as port:
        api = over_http(deployment, port, more)
        assert data_from(api) == DATA
        replace(web_server, OTHER)
        second = data_from(api)
        assert OTHER.startswith(second)
        assert (second == OTHER) is is_trusted
        api.close()


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    ("more", "second"),
    [
        ("", b"!" + DATA[1:]),
        ("trust_times = false", b"!" + DATA[1 : len(DATA) // CHUNK * CHUNK]),
    ],
)
def test_file_that_is_written_through_mmap(
    deployment: Deployment, more: str, second: bytes
) -> None:
    deployment.configure(core=f"chunk_size = {CHUNK}", more=more)
    deployment.add("i", DATA)
    path = deployment.data_path("i")
    api = deployment.api()
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        # The first write to a page changes the times; the next ones do not.
        memory[0] = DATA[0]
        before = path.stat()
        assert data_from(api) == DATA
        memory[0] = ord("!")
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        assert data_from(api) == second
    api.close()


@pytest.mark.usefixtures("settled")
def test_small_file_is_read_each_time_where_times_are_not_trusted(deployment: Deployment) -> None:
    deployment.configure(more="trust_times = false")
    deployment.add("i", b"data")
    path = deployment.data_path("i")
    api = deployment.api()
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0] = ord("d")
        assert get(api, "/v1/images/i").body == b"data"
        memory[0] = ord("D")
        assert get(api, "/v1/images/i").status_code == 500
    api.close()
