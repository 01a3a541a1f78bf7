# SPDX-License-Identifier: Apache-2.0
"""``imageapi add`` puts 1 GiB into a real Swift, and glanceclient v1 downloads it."""

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from glanceclient.v1.client import Client

from tests.functional.servers import serving
from tests.functional.swift import running_swift, swift_configuration, v1_options
from tests.paths import BIN

MIB = 1024 * 1024
SIZE = 1024 * MIB

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.timeout(300),
]


def data() -> Iterator[bytes]:
    """1 GiB of data in which each MiB is different."""
    block = bytearray(hashlib.shake_256(b"large").digest(MIB))
    for number in range(SIZE // MIB):
        block[:8] = number.to_bytes(8)
        yield bytes(block)


def test_large_image(tmp_path: Path) -> None:
    (tmp_path / "swift").mkdir()
    with running_swift(tmp_path / "swift") as swift:
        with closing(swift.client()) as client:
            for container in ("records", "images"):
                client.put_container(container)
            config = tmp_path / "imageapi.conf"
            config.write_text(swift_configuration(v1_options(swift), f"segment_size = {300 * MIB}"))
            md5 = add_through_pipe(config)
            (data,) = client.get_container("images")[1]
            head = client.head_object("images", data["name"])
            assert head["x-static-large-object"] == "True"
            assert len(client.get_container("images_segments")[1]) == 4
        with serving(config) as port:
            image = Client(f"http://127.0.0.1:{port}", token="t").images.get("large")
            assert (image.size, image.checksum) == (SIZE, md5)
            # glanceclient compares the MD5 itself; the test computes it again.
            assert hashed(image.data()) == (SIZE, md5)


def add_through_pipe(config: Path) -> str:
    """Pipe the data into ``imageapi add``; returns its MD5."""
    command = [
        str(BIN / "imageapi"),
        "--config-file",
        str(config),
        "add",
        "-",
        "--id",
        "large",
        "--public",
    ]
    md5 = hashlib.md5()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        for chunk in data():
            md5.update(chunk)
            process.stdin.write(chunk)
        assert process.communicate(timeout=120)[0] == b"large\n"
    assert process.returncode == 0
    return md5.hexdigest()


def hashed(chunks: Iterator[bytes]) -> tuple[int, str]:
    md5 = hashlib.md5()
    size = 0
    for chunk in chunks:
        md5.update(chunk)
        size += len(chunk)
    return size, md5.hexdigest()
