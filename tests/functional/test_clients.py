# SPDX-License-Identifier: Apache-2.0
"""Real clients of the Image API v1 and of HTTP, over a real socket."""

import hashlib
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pycurl
import pytest
import requests
from glanceclient import exc as glance_errors
from glanceclient.v1.client import Client

from tests.deployment import Deployment
from tests.functional.servers import serving

DATA = os.urandom(5_000_000)
MD5 = hashlib.md5(DATA).hexdigest()

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def image_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    deployment = Deployment(tmp_path_factory.mktemp("clients") / "deployment")
    deployment.add(
        "an-image",
        DATA,
        name="\u00dcbuntu 10.04",
        disk_format="vhd",
        container_format="ovf",
        created_at="2010-02-03 09:34:01",
        min_ram=256,
        min_disk=5,
        properties={"distro": "Ubuntu 10.04 LTS", "kernel_id": "k"},
    )
    deployment.add("empty", b"")
    # Each test has its own image, because wrong data is refused for a minute.
    for image_id in ("corrupt-glanceclient", "corrupt-curl"):
        deployment.add(image_id, DATA, checksum="0" * 32)
    deployment.add("hidden", DATA, is_public=False)
    with serving(deployment.config_file) as port:
        yield port


class TestGlanceClient:
    @pytest.fixture
    def client(self, image_port: int) -> Client:
        return Client(f"http://127.0.0.1:{image_port}", token="t")

    def test_details(self, client: Client) -> None:
        image = client.images.get("an-image")
        assert (image.id, image.status) == ("an-image", "active")
        # This client leaves the bytes of a header as they are.
        assert image.name.encode("latin-1").decode() == "\u00dcbuntu 10.04"
        assert (image.size, image.min_ram, image.min_disk) == (len(DATA), 256, 5)
        assert (image.is_public, image.protected, image.deleted) == (True, False, False)
        assert (image.checksum, image.created_at) == (MD5, "2010-02-03T09:34:01.000000")
        assert image.properties == {"distro": "Ubuntu 10.04 LTS", "kernel_id": "k"}

    def test_download(self, client: Client) -> None:
        data = client.images.data("an-image")
        assert len(data) == len(DATA)
        assert b"".join(data) == DATA

    def test_empty(self, client: Client) -> None:
        assert b"".join(client.images.data("empty")) == b""

    @pytest.mark.parametrize("image_id", ["absent", "hidden"])
    def test_absent(self, client: Client, image_id: str) -> None:
        with pytest.raises(glance_errors.HTTPNotFound):
            client.images.get(image_id)
        with pytest.raises(glance_errors.HTTPNotFound):
            client.images.data(image_id)

    def test_corrupt(self, client: Client) -> None:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            b"".join(client.images.data("corrupt-glanceclient"))


def test_requests(image_port: int) -> None:
    url = f"http://127.0.0.1:{image_port}/v1/images/an-image"
    with requests.Session() as session:
        assert session.get(url, timeout=20).content == DATA
        part = session.get(url, headers={"Range": "bytes=1000000-"}, timeout=20)
        assert (part.status_code, part.content) == (206, DATA[1_000_000:])
        cached = session.get(url, headers={"If-None-Match": f'"{MD5}"'}, timeout=20)
        assert (cached.status_code, cached.content) == (304, b"")
        assert session.head(url, timeout=20).headers["Content-Length"] == str(len(DATA))


def test_urllib(image_port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{image_port}/v1/images/an-image") as response:
        assert response.read() == DATA
        assert response.headers["X-Image-Meta-Checksum"] == MD5


def curl(url: str, target: Path, resume_from: int = 0) -> int:
    """Download with libcurl and append to a file; returns the error code, 0 for success."""
    with target.open("ab") as file:
        client = pycurl.Curl()
        try:
            client.setopt(pycurl.URL, url)
            client.setopt(pycurl.FAILONERROR, True)
            client.setopt(pycurl.RESUME_FROM, resume_from)
            client.setopt(pycurl.WRITEDATA, file)
            client.perform()
        except pycurl.error as error:
            return int(error.args[0])
        finally:
            client.close()
    return 0


def test_curl_resumes_a_download(image_port: int, tmp_path: Path) -> None:
    target = tmp_path / "image"
    target.write_bytes(DATA[:1_234_567])
    assert curl(f"http://127.0.0.1:{image_port}/v1/images/an-image", target, 1_234_567) == 0
    assert target.read_bytes() == DATA


def test_curl_notices_a_corrupt_image(image_port: int, tmp_path: Path) -> None:
    target = tmp_path / "image"
    error = curl(f"http://127.0.0.1:{image_port}/v1/images/corrupt-curl", target)
    assert error == pycurl.E_PARTIAL_FILE
    assert target.stat().st_size < len(DATA)
