# SPDX-License-Identifier: Apache-2.0
"""``add``, ``replace``, ``remove`` and ``verify`` with the S3 that a real Swift speaks."""

import io
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import swiftclient

from imageapi.backends.s3.data_writer import S3DataWriter
from imageapi.backends.s3.listing import objects_in, uploads_in
from imageapi.backends.s3.store import S3Store
from imageapi.backends.writing import HashingReader, WriteError
from imageapi.commands import main
from imageapi.image import Image
from imageapi.testing.suite import build
from tests.deployment import Deployment, get, served_data
from tests.functional.s3 import s3_options
from tests.functional.swift import Swift
from tests.functional.waiting import wait_until
from tests.paths import BIN

PART = 5 * 1024 * 1024
LARGE = os.urandom(2 * PART + 5)
SMALL_DATA = LARGE[:1000]


@pytest.fixture
def s3_client(swift: Swift) -> Iterator[swiftclient.Connection]:
    """What looks into the bucket, which is empty at first."""
    with closing(swift.client()) as connection:
        for container in ("images", "images+segments"):
            connection.put_container(container)
            for entry in connection.get_container(container)[1]:
                connection.delete_object(container, entry["name"])
        yield connection


@pytest.fixture
def s3_store(swift: Swift, s3_client: swiftclient.Connection) -> Iterator[S3Store]:
    made = build(S3Store, bucket="images", segment_size=PART, **s3_options(swift))
    yield made
    made.close()


class S3Commands(Deployment):
    """S3Commands on records in files and data in S3."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        super().__init__(folder)
        lines = "\n".join(f"{name} = {value}" for name, value in options.items())
        self.configure("stores = s3", f"[imageapi_store_s3]\n{lines}")

    def run(self, *words: str) -> int:
        return int(main.main(["--config-file", str(self.config_file), *words]) or 0)

    def source(self, data: bytes) -> str:
        path = self.folder / "source"
        path.write_bytes(data)
        return str(path)


@pytest.fixture
def s3_commands(swift: Swift, s3_store: S3Store, tmp_path: Path) -> S3Commands:
    options = {"bucket": "images", "segment_size": PART, **s3_options(swift)}
    return S3Commands(tmp_path, options)


def keys_in(client: swiftclient.Connection, container: str = "images") -> list[str]:
    return [entry["name"] for entry in client.get_container(container)[1]]


@pytest.mark.parametrize("data", [b"", SMALL_DATA, LARGE[: 2 * PART], LARGE])
def test_the_life_of_an_image(
    s3_commands: S3Commands, s3_client: swiftclient.Connection, data: bytes
) -> None:
    assert s3_commands.run("add", s3_commands.source(data), "--id", "i", "--public") == 0
    (name,) = keys_in(s3_client)
    assert name.startswith("i/")
    parts = len(data) > PART and -(-len(data) // PART)
    assert len(keys_in(s3_client, "images+segments")) == parts
    assert served_data(s3_commands.config_file) == data
    with closing(s3_commands.api()) as api:
        assert get(api, "/v1/images/i", Range="bytes=1-9").body == data[1:10] or not data
    assert s3_commands.run("replace", "i", s3_commands.source(data[::-1] + b"x")) == 0
    assert served_data(s3_commands.config_file) == data[::-1] + b"x"
    assert len(keys_in(s3_client)) == 1
    assert s3_commands.run("verify", "--all") == 0
    assert s3_commands.run("remove", "i") == 0
    # The parts are Swift's matter: it removes them later.
    assert keys_in(s3_client) == []


def test_data_from_a_pipe_may_have_any_size(
    s3_commands: S3Commands, s3_client: swiftclient.Connection
) -> None:
    program = [str(BIN / "imageapi"), "--config-file", str(s3_commands.config_file)]
    for image_id, data in (("i", LARGE), ("j", SMALL_DATA)):
        words = ["add", "-", "--id", image_id, "--public"]
        subprocess.run([*program, *words], input=data, check=True, timeout=60, capture_output=True)
    assert served_data(s3_commands.config_file) == LARGE
    assert len(keys_in(s3_client)) == 2


def test_an_interrupted_upload_leaves_nothing(
    s3_commands: S3Commands, s3_client: swiftclient.Connection, s3_store: S3Store
) -> None:
    program = [str(BIN / "imageapi"), "--config-file", str(s3_commands.config_file)]
    words = ["add", "-", "--id", "i", "--public"]
    with subprocess.Popen(
        [*program, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # The parent process may ignore SIGINT, as with nohup.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdin is not None
        process.stdin.write(LARGE)
        process.stdin.flush()
        wait_until(lambda: len(keys_in(s3_client, "images+segments")) > 1, "no part was uploaded")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode
    assert list(uploads_in(s3_store.client, "images")) == []
    assert keys_in(s3_client) == keys_in(s3_client, "images+segments") == []
    assert not s3_commands.record_path("i").exists()


def test_what_a_killed_program_has_left_is_found(
    s3_store: S3Store,
    s3_client: swiftclient.Connection,
) -> None:
    answer = s3_store.client.request("POST", "images", f"/i/{'a' * 32}", body=b"", query="uploads=")
    answer.response.close()
    s3_client.put_object("images", f"j/{'b' * 32}", b"data")
    s3_client.put_object("images", "of somebody else", b"data")
    writer = S3DataWriter(s3_store)
    found = {one.image_id: one for one in writer.leftovers(())}
    assert found.keys() == {"i", "j"}
    assert all(-2 < one.seconds < 600 for one in found.values())
    assert found["i"].name == f"images/i/{'a' * 32} (an upload that was not completed)"
    used = found["j"].location
    assert used is not None
    assert [one.image_id for one in writer.leftovers([used])] == ["i"]
    for one in found.values():
        one.remove()
    assert list(writer.leftovers(())) == []
    assert keys_in(s3_client) == ["of somebody else"]


def test_without_permission_nothing_is_written(swift: Swift, s3_store: S3Store) -> None:
    options = s3_options(swift, secret_key="wr0ng")
    with closing(build(S3Store, bucket="images", segment_size=PART, **options)) as store:
        for data in (SMALL_DATA, LARGE):
            reader = HashingReader(io.BytesIO(data), lambda _: None)
            with pytest.raises(WriteError, match="status 403: a key is wrong"):
                S3DataWriter(store).put(
                    Image(id="i", status="queued"), reader, is_replacement=False
                )
    assert list(objects_in(s3_store.client, "images")) == []
