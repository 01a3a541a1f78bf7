# SPDX-License-Identifier: Apache-2.0
"""What `scripts/package` builds for an index."""

import email
import subprocess
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import imageapi
from tests.functional.test_docs import REPOSITORY
from tests.paths import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [ROOT / "scripts" / "package", folder], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_sdist_holds_the_pages_and_the_examples(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    prefix = f"imageapi-{imageapi.__version__}"
    with tarfile.open(sdist) as archive:
        names = {member.name for member in archive if member.isfile()}
    wanted = [
        path
        for folder in ("docs", "etc", "examples")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    wanted += [*ROOT.glob("*.md"), ROOT / "LICENSE"]
    assert [path for path in wanted if f"{prefix}/{path.relative_to(ROOT)}" not in names] == []


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_metadata_of_the_wheel(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    metadata = metadata_of(wheel)
    assert metadata["Version"] == imageapi.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    urls = dict(value.split(", ") for value in metadata.get_all("Project-URL", []))
    assert sorted(urls) == ["Changelog", "Documentation", "Issues", "Security", "Source"]
    for name in ("Changelog", "Security"):
        assert (ROOT / urls[name].removeprefix(REPOSITORY)).is_file()


def test_page_for_operators_names_each_extra(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    extras = metadata_of(wheel).get_all("Provides-Extra", [])
    assert extras
    assert [name for name in extras if f"| `{name}` |" not in page] == []


def test_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "imageapi-0.0.1.tar.gz").touch()
    done = subprocess.run(
        [ROOT / "scripts" / "package", tmp_path], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 1
    assert f"The folder {tmp_path} is not empty." in done.stderr
