# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from imageapi.backends.file.new_file import NewFile
from imageapi.backends.writing import WriteError
from imageapi.commands import exported
from imageapi.commands.configured import OPERATOR
from imageapi.commands.exported import ExportedImages, Paths
from imageapi.errors import BackendUnavailable, ImageNotFound, MalformedImage
from imageapi.image import Image, Location

ODD_IDS = ["a", "a.img", "a.img.img", "a+record.json", "a%2Eimg", ".", "..", "ü b", ".img"]


def written_data(file: NewFile) -> None:
    file.write(b"data")


def test_each_id_has_files_of_its_own(tmp_path: Path) -> None:
    paths = [Paths(str(tmp_path), one) for one in ODD_IDS]
    names = [name for one in paths for name in (one.details, one.record, one.data)]
    assert len(set(names)) == 3 * len(ODD_IDS)
    assert {os.path.dirname(name) for name in names} == {str(tmp_path)}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    images = [
        Image(id=one, status="active", members=frozenset("p"), protected=True) for one in ODD_IDS
    ]
    for image in images:
        path = exported.write(str(tmp_path), image, written_data)
        assert Path(path).read_bytes() == b"data"
    registry = ExportedImages(str(tmp_path))
    assert sorted(registry.image_ids()) == sorted(ODD_IDS)
    for image in images:
        found = registry.get(image.id, OPERATOR)
        assert (found.members, found.protected) == (image.members, True)
        source = exported.source_of(str(tmp_path))
        (location,) = found.locations
        blob = source.stores[0].backend.open(location, caller=OPERATOR)
        assert b"".join(blob) == b"data"
        blob.close()


def test_data_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    """A folder from elsewhere must not copy files of this machine into an image."""
    folder = tmp_path / "folder"
    folder.mkdir()
    exported.write(str(folder), Image(id="i", status="active"), written_data)
    (folder / "i.img").unlink()
    (folder / "i.img").symlink_to("/etc/passwd")
    source = exported.source_of(str(folder))
    (location,) = source.registry.backend.get("i", OPERATOR).locations
    for one in (location, Location("file:///etc/passwd")):
        with pytest.raises(Exception, match="not below"):
            source.stores[0].backend.open(one, caller=OPERATOR)


def test_failed_data_keeps_the_files_of_before(tmp_path: Path) -> None:
    image = Image(id="i", status="active")
    exported.write(str(tmp_path), image, written_data)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(file: NewFile) -> None:
        file.write(b"x")
        raise WriteError("broken off")

    with pytest.raises(WriteError, match="broken off"):
        exported.write(str(tmp_path), image, fail)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_files_that_are_no_record(tmp_path: Path) -> None:
    registry = ExportedImages(str(tmp_path))
    with pytest.raises(ImageNotFound):
        registry.get("i", OPERATOR)
    (tmp_path / "i").write_text(" " * 2**20 + "{}")
    with pytest.raises(MalformedImage, match="larger than"):
        registry.get("i", OPERATOR)
    (tmp_path / "i").unlink()
    (tmp_path / "i").mkdir()
    assert list(registry.image_ids()) == []
    with pytest.raises(BackendUnavailable, match="Is a directory"):
        registry.get("i", OPERATOR)


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    registry = ExportedImages(str(tmp_path / "absent"))
    with pytest.raises(BackendUnavailable, match="absent: No such file or directory"):
        list(registry.image_ids())
