# SPDX-License-Identifier: Apache-2.0
"""``imageapi add`` with a real Swift: the objects that it puts, and those that it removes."""

import hashlib
import io
import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import imageapi
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.backends.swift.store import SwiftStore
from imageapi.backends.writing import HashingReader, WriteError
from imageapi.commands import changes
from imageapi.errors import BackendUnavailable
from imageapi.image import Image
from tests.deployment import get
from tests.functional.swift import (
    CONTAINERS,
    KEY,
    Swift,
    object_paths,
    swift_configuration,
    v1_options,
)
from tests.functional.waiting import wait_until
from tests.paths import BIN

MIB = 1024 * 1024
DATA = os.urandom(2 * MIB + 5)


@pytest.fixture
def configured(swift: Swift, tmp_path: Path) -> Callable[..., Path]:
    """Empties Swift, and writes a configuration."""
    with closing(swift.client()) as client:
        for container in CONTAINERS:
            client.put_container(container)
            for entry in client.get_container(container)[1]:
                client.delete_object(container, entry["name"])

    def write(segment_size: int = MIB, **cloud: Any) -> Path:
        path = tmp_path / "imageapi.conf"
        options = {**v1_options(swift), **cloud}
        if options["auth_type"] == "none":
            options = cloud
        path.write_text(swift_configuration(options, f"segment_size = {segment_size}"))
        return path

    return write


def command(config: Path, *words: str, **how: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            str(BIN / "imageapi"),
            "--config-file",
            str(config),
            "add",
            *words,
            "--id",
            "i",
            "--public",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # The parent process may ignore SIGINT, as with nohup.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **how,
    )


def finish(process: "subprocess.Popen[bytes]", data: bytes | None = None) -> tuple[int, str]:
    """Wait for the end; returns the exit status and standard error."""
    said = process.communicate(data, timeout=60)
    return process.returncode, said[1].decode()


@pytest.mark.parametrize(
    ("segment_size", "pieces"), [(4 * MIB, 0), (MIB, 3)], ids=["plain", "large"]
)
def test_file(
    swift: Swift, configured: Any, tmp_path: Path, segment_size: int, pieces: int
) -> None:
    config = configured(segment_size)
    (tmp_path / "disk.raw").write_bytes(DATA)
    words = (str(tmp_path / "disk.raw"), "--name", "one", "--property", "a=b")
    assert finish(command(config, *words)) == (0, "")
    record, data, *segments = object_paths(swift)
    assert record == "records/i.json"
    assert data.startswith("images/i/")
    assert len(segments) == pieces
    api = imageapi.ImageAPI(imageapi.load_config([config]))
    response = get(api, "/v1/images/i")
    assert response.body == DATA
    assert response.headers["Etag"] == hashlib.md5(DATA).hexdigest()
    assert response.headers["X-Image-Meta-Property-A"] == "b"
    assert get(api, "/v1/images/i", Range="bytes=1048570-1048580").body == DATA[1048570:1048581]
    api.close()


@pytest.mark.parametrize("data", [DATA, b"x", b"y" * 2 * MIB], ids=["three", "one", "two"])
def test_pipe(swift: Swift, configured: Any, data: bytes) -> None:
    config = configured()
    process = command(config, "-", stdin=subprocess.PIPE)
    assert finish(process, data) == (0, "")
    assert len(object_paths(swift)) == 2 + -(-len(data) // MIB)
    with_show = [str(BIN / "imageapi"), "--config-file", str(config), "show", "i"]
    shown = subprocess.run(with_show, check=True, capture_output=True, text=True, timeout=60)
    assert f"{len(data)} bytes" in shown.stdout
    with closing(swift.client()) as client:
        assert client.get_object("images", data_name(swift))[1] == data
        record = json.loads(client.get_object("records", "i.json")[1])
    assert record["images"][0]["checksum"] == hashlib.md5(data).hexdigest()


def test_empty_data(swift: Swift, configured: Any) -> None:
    assert finish(command(configured(), os.devnull)) == (0, "")
    assert len(object_paths(swift)) == 2


def data_name(swift: Swift) -> str:
    """The name of the one object that is an image's data."""
    (name,) = (path for path in object_paths(swift) if path.startswith("images/"))
    return name.removeprefix("images/")


def test_id_that_exists(swift: Swift, configured: Any, tmp_path: Path) -> None:
    config = configured()
    with closing(swift.client()) as client:
        client.put_object("records", "i.json", b"other")
        (tmp_path / "disk.raw").write_bytes(DATA)
        status, said = finish(command(config, str(tmp_path / "disk.raw")))
        assert (status, "exists already" in said) == (1, True)
        assert object_paths(swift) == ["records/i.json"]
        assert client.get_object("records", "i.json")[1] == b"other"


def test_id_that_comes_to_exist_meanwhile(swift: Swift, configured: Any) -> None:
    """The objects of the other image are neither overwritten nor removed."""
    process = begun_upload(configured(), 3 * MIB)
    wait_until(lambda: len(object_paths(swift)) >= 2, "no segment has come")
    with closing(swift.client()) as client:
        client.put_object("records", "i.json", b"other")
        status, said = finish(process, b"end")
        assert (status, "exists already" in said) == (1, True)
        assert object_paths(swift) == ["records/i.json"]
        assert client.get_object("records", "i.json")[1] == b"other"


@pytest.mark.parametrize("segment_size", [4 * MIB, MIB], ids=["plain", "large"])
def test_the_same_id_twice_at_once(
    swift: Swift, configured: Any, tmp_path: Path, segment_size: int
) -> None:
    """One of the two images is complete, whichever begins or ends first.

    Both commands may report success if they put their records within milliseconds.
    """
    config = configured(segment_size)
    (tmp_path / "one").write_bytes(DATA)
    (tmp_path / "two").write_bytes(DATA[::-1])
    processes = [command(config, str(tmp_path / name)) for name in ("one", "two")]
    statuses = [finish(process)[0] for process in processes]
    assert sorted(statuses) in ([0, 1], [0, 0])
    api = imageapi.ImageAPI(imageapi.load_config([config]))
    response = get(api, "/v1/images/i")
    added = [data for data, status in zip((DATA, DATA[::-1]), statuses, strict=True) if not status]
    assert response.body in added
    api.close()
    assert len([path for path in object_paths(swift) if path.startswith("images/")]) == len(added)


@pytest.mark.parametrize(("others", "left"), [(b"", []), (b"other", ["records/i.json"])])
def test_an_answer_to_the_record_that_does_not_come(
    swift: Swift, configured: Any, monkeypatch: pytest.MonkeyPatch, others: bytes, left: list[str]
) -> None:
    """The record may have been put, by this command or by another one."""
    api, registry, _ = backends(configured())
    with closing(swift.client()) as client:
        real = registry.account.request

        def lose(method: str, path: str, headers: Any, body: Any = None, query: str = "") -> Any:
            if method != "PUT":
                return real(method, path, headers, body, query)
            if others:
                client.put_object("records", "i.json", others)
            else:
                real(method, path, headers, body, query)[0].close()
            raise BackendUnavailable("no answer")

        monkeypatch.setattr(registry.account, "request", lose)
        new = HashingReader(io.BytesIO(b"data"), lambda _: None)
        with pytest.raises(BackendUnavailable, match="no answer"):
            put(api, new)
        assert object_paths(swift) == left
    api.close()


def begun_upload(config: Path, size: int) -> "subprocess.Popen[bytes]":
    """``imageapi add -`` that has been given this number of bytes, and waits for more."""
    process = command(config, "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"x" * size)
    process.stdin.flush()
    return process


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted(swift: Swift, configured: Any, number: signal.Signals) -> None:
    process = begun_upload(configured(), 3 * MIB)
    wait_until(lambda: len(object_paths(swift)) >= 2, "no segment has come")
    process.send_signal(number)
    assert finish(process) == (1, "imageapi: interrupted\n")
    wait_until(lambda: object_paths(swift) == [], f"left behind: {object_paths(swift)}")


def test_swift_that_goes_away(swift: Swift, configured: Any) -> None:
    """The error names the objects that cannot be removed."""
    process = begun_upload(configured(connect_retries=0, status_code_retries=0), 3 * MIB)
    wait_until(lambda: len(object_paths(swift)) >= 2, "no segment has come")
    swift.stop("proxy")
    try:
        status, said = finish(process, b"x" * 3 * MIB)
    finally:
        swift.start("proxy")
    assert status == 1
    lines = said.splitlines()
    assert lines[-1].startswith("imageapi: image i: http://")
    left = [line.split(" with a Swift client: /")[1] for line in lines if "left behind" in line]
    assert len(left) >= 1
    assert set(object_paths(swift)) <= set(left)


def put(api: imageapi.ImageAPI, data: HashingReader) -> None:
    image = Image(id="i", status="queued")
    changes.add(changes.writers_of(api.backends), image, data, checksum=None)


def backends(config: Path) -> tuple[imageapi.ImageAPI, SwiftRegistry, SwiftStore]:
    api = imageapi.ImageAPI(imageapi.load_config([config]))
    registry, store = api.backends.registry.backend, api.backends.stores[0].backend
    assert isinstance(registry, SwiftRegistry)
    assert isinstance(store, SwiftStore)
    return api, registry, store


@pytest.mark.parametrize("segment_size", [4 * MIB, MIB], ids=["plain", "large"])
def test_data_that_changes_on_its_way(
    swift: Swift,
    configured: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    segment_size: int,
) -> None:
    """The ETag that Swift returns is compared with the data that was read."""
    api, _, store = backends(configured(segment_size))
    real = store.account.request

    def corrupting(method: str, path: str, headers: Any, body: Any = None, query: str = "") -> Any:
        if body is not None and path.startswith("/images"):
            body = (chunk.replace(b"x", b"y") for chunk in body)
        return real(method, path, headers, body, query)

    monkeypatch.setattr(store.account, "request", corrupting)
    (tmp_path / "disk.raw").write_bytes(b"x" * 2 * MIB)
    with (
        (tmp_path / "disk.raw").open("rb") as source,
        pytest.raises(WriteError, match="other bytes"),
    ):
        put(api, HashingReader(source, lambda _: None))
    api.close()
    assert object_paths(swift) == []


def test_file_that_grows(swift: Swift, configured: Any, tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"x" * MIB)
    api, _, _ = backends(configured())
    with path.open("rb") as source, path.open("ab") as writer:

        def grow(_: int) -> None:
            writer.write(b"more")
            writer.flush()

        with pytest.raises(WriteError, match="grew while it was read"):
            put(api, HashingReader(source, grow))
    api.close()
    assert object_paths(swift) == []


@pytest.mark.parametrize(
    ("cloud", "told"),
    [
        ({"password": "wr0ng-secret"}, "answers with status 401"),
        ({"auth_type": "none", "endpoint_override": "URL"}, "credentials are required"),
    ],
)
def test_who_may_not(swift: Swift, configured: Any, cloud: dict[str, str], told: str) -> None:
    cloud = {name: text.replace("URL", swift.account_url) for name, text in cloud.items()}
    config = configured(**cloud)
    status, said = finish(command(config, os.devnull))
    assert status == 1
    assert told in said
    assert KEY not in said
    assert "wr0ng-secret" not in said


def test_a_writer_who_may_not_make_containers(swift: Swift, configured: Any) -> None:
    """ACLs of three containers are enough."""
    with closing(swift.client()) as client:
        for container in CONTAINERS:
            acl = {"X-Container-Read": "acme:writer", "X-Container-Write": "acme:writer"}
            client.post_container(container, acl)
    config = configured(username="acme:writer")
    assert finish(command(config, "-", stdin=subprocess.PIPE), b"data") == (0, "")
    assert len(object_paths(swift)) == 3


def test_clean_up_that_is_interrupted_again_says_what_is_left(
    swift: Swift, configured: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    api, _, store = backends(configured())
    real = store.account.request

    def interrupted(method: str, path: str, *rest: Any) -> Any:
        if method == "DELETE" or path.endswith("00000002"):
            raise KeyboardInterrupt
        return real(method, path, *rest)

    monkeypatch.setattr(store.account, "request", interrupted)
    new = HashingReader(io.BytesIO(DATA), lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        put(api, new)
    api.close()
    left = [line.split(" with a Swift client: /")[1] for line in caplog.messages]
    assert set(object_paths(swift)) <= set(left)
    assert len(object_paths(swift)) == 2


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signal_that_is_ignored(swift: Swift, configured: Any, number: signal.Signals) -> None:
    """nohup starts it in this way."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        process = begun_upload(configured(), 2 * MIB)
    finally:
        signal.signal(number, before)
    wait_until(lambda: len(object_paths(swift)) >= 1, "no segment has come")
    process.send_signal(number)
    assert finish(process, b"end") == (0, "")
