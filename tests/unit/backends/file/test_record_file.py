# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from imageapi.backends.file.record_file import LARGEST_RECORD, image_id_of, read_record
from imageapi.errors import LocationRefused, MalformedImage
from imageapi.image import Image

RECORD = b'{"status": "active", "name": "n"}'


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("i.json", "i"),
        ("a%20b.json", "a b"),
        ("%2E%2E.json", ".."),
        ("i.json.json", "i.json"),
        ("a b.json", None),  # another spelling
        ("%69.json", None),
        ("%FF.json", None),
        (".json", None),
        ("i", None),
    ],
)
def test_each_id_has_one_file_name(name: str, image_id: str | None) -> None:
    assert image_id_of(name) == image_id


def test_record_and_identity_are_of_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "i.json"
    path.write_bytes(RECORD)
    read = read_record(str(tmp_path), str(path), "i")
    assert read.found == Image(id="i", status="active", name="n")
    assert read.identity.is_of(path.stat())
    assert not read.shows_next_change  # it is younger than two seconds


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"{", "not JSON"), (b" " * (LARGEST_RECORD + 1), "larger than 1048576 bytes")],
)
def test_malformed_record_is_named_with_its_path(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "i.json"
    path.write_bytes(data)
    found = read_record(str(tmp_path), str(path), "i").found
    assert isinstance(found, MalformedImage)
    assert str(found).startswith(f"{path}: ")
    assert problem in str(found)


def test_largest_record_is_read(tmp_path: Path) -> None:
    path = tmp_path / "i.json"
    path.write_bytes(RECORD.ljust(LARGEST_RECORD))
    assert isinstance(read_record(str(tmp_path), str(path), "i").found, Image)


def test_folder_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "i.json"
    path.mkdir()
    found = read_record(str(tmp_path), str(path), "i").found
    assert str(found) == f"{path}: not a regular file"


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    (tmp_path / "outside.json").write_bytes(RECORD)
    os.symlink(tmp_path / "outside.json", folder / "i.json")
    with pytest.raises(LocationRefused):
        read_record(str(folder), str(folder / "i.json"), "i")
