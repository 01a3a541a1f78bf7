# SPDX-License-Identifier: Apache-2.0
"""``set``, ``replace``, ``remove``, ``list`` and ``verify`` with a real Swift."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import swiftclient

from imageapi.commands import main, verify
from tests.deployment import served_data
from tests.functional.swift import (
    CONTAINERS,
    Swift,
    object_paths,
    swift_configuration,
    upload_slo,
    v1_options,
)

MIB = 1024 * 1024

PLAIN = os.urandom(MIB // 2)
LARGE = os.urandom(2 * MIB + 5)


@pytest.fixture
def client(swift: Swift) -> Iterator[swiftclient.Connection]:
    """What looks into Swift, which is empty at first."""
    with closing(swift.client()) as connection:
        for container in CONTAINERS:
            connection.put_container(container)
            for entry in connection.get_container(container)[1]:
                connection.delete_object(container, entry["name"])
        yield connection


@pytest.fixture
def config(swift: Swift, tmp_path: Path) -> Path:
    path = tmp_path / "imageapi.conf"
    path.write_text(swift_configuration(v1_options(swift), f"segment_size = {MIB}"))
    return path


@pytest.mark.parametrize(
    ("first", "second", "count"), [(PLAIN, LARGE, 5), (LARGE, PLAIN, 2)], ids=["grows", "shrinks"]
)
def test_life_of_an_image(
    swift: Swift,
    client: swiftclient.Connection,
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    first: bytes,
    second: bytes,
    count: int,
) -> None:
    def run(*words: str) -> str:
        assert main.main(["--config-file", str(config), *words]) == 0
        return capsys.readouterr().out

    (tmp_path / "first").write_bytes(first)
    (tmp_path / "second").write_bytes(second)
    run("add", str(tmp_path / "first"), "--id", "i", "--public")
    run("set", "i", "--name", "n", "--property", "a=b")
    assert served_data(config) == first
    run("replace", "i", str(tmp_path / "second"))
    assert served_data(config) == second
    assert len(object_paths(swift)) == count
    record = json.loads(run("list", "--json"))
    assert (record["name"], record["properties"]) == ("n", {"a": "b"})
    assert record["size"] == str(len(second)) or record["size"] == len(second)
    assert run("verify", "--all") == "images: 1, problems: 0\n"
    run("deactivate", "i")
    run("activate", "i")
    assert served_data(config) == second
    run("remove", "i")
    assert object_paths(swift) == []
    assert run("list") == ""


def test_leftovers(
    swift: Swift,
    client: swiftclient.Connection,
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Data with names of ours, and segments without their manifest; nothing else."""
    (tmp_path / "disk").write_bytes(LARGE)
    words = ["--config-file", str(config)]
    assert main.main([*words, "add", str(tmp_path / "disk"), "--id", "i", "--public"]) == 0
    ours = "0123456789abcdef" * 2
    client.put_object("images", f"j/{ours}", b"data")
    client.put_object("images_segments", f"k/{ours}/00000000", b"data")
    client.put_object("images", "by-hand", b"data")
    upload_slo(client, "images", f"l/{ours}", [b"x", b"y"])
    before = object_paths(swift)
    capsys.readouterr()
    assert main.main([*words, "verify", "--all"]) == 0
    assert capsys.readouterr().out.count("less than a day ago") == 3
    monkeypatch.setattr(verify, "_OLD_SECONDS", -10)
    assert main.main([*words, "verify", "--all"]) == 1
    assert object_paths(swift) == before
    assert main.main([*words, "verify", "--all", "--remove-orphans"]) == 0
    left = [name for name in object_paths(swift) if not name.split("/")[1].startswith("i")]
    assert left == ["images/by-hand"]
    assert served_data(config) == LARGE


def test_data_that_was_uploaded_by_hand_stays(
    swift: Swift, client: swiftclient.Connection, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client.put_object("images", "i", b"data")
    client.put_object("records", "i.json", json.dumps({"status": "active", "size": 4}))
    assert main.main(["--config-file", str(config), "remove", "i"]) == 0
    assert object_paths(swift) == ["images/i"]
    assert "data that others may use is not removed" in caplog.text
