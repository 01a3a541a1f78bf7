# SPDX-License-Identifier: Apache-2.0
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi.backends.file import folder
from imageapi.backends.file.folder import StatSignature, file_name, is_below
from imageapi.image import is_image_id
from tests.configuration import problems_of


@pytest.mark.parametrize(
    ("image_id", "name"),
    [
        ("71c675ab-d94f", "71c675ab-d94f"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("a b", "a%20b"),
        ("%2E", "%252E"),
        ("\u00e9", "%C3%A9"),
        ("a+b", "a%2Bb"),
    ],
)
def test_file_names(image_id: str, name: str) -> None:
    assert file_name(image_id) == name


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_file_name_is_one_images_and_no_path(one: str, other: str) -> None:
    if is_image_id(one) and is_image_id(other):
        assert (file_name(one) == file_name(other)) == (one == other)
        assert "/" not in file_name(one)
        assert file_name(one) not in (".", "..")


def test_names_of_ids_that_clients_make_up_are_remembered_in_bounded_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(5000):
            file_name(f"{number}" + "x" * 4000)
        assert tracemalloc.get_traced_memory()[0] < 4_000_000
    finally:
        tracemalloc.stop()


def test_identity_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    before = StatSignature.of(os.stat(path))
    assert before == StatSignature.of(os.stat(path))
    os.utime(path, (1, 1))
    assert str(before) != str(StatSignature.of(os.stat(path)))


def test_identity_is_settled_when_its_times_are_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"x")
    identity = StatSignature.of(os.stat(path))
    assert not identity.shows_next_change()
    # An old mtime proves nothing, because anybody may set it.
    os.utime(path, (1, 1))
    assert not StatSignature.of(os.stat(path)).shows_next_change()
    later = max(identity.changed_ns, identity.modified_ns) + folder.SETTLED_NS
    monkeypatch.setattr("time.time_ns", lambda: later)
    assert not identity.shows_next_change()
    monkeypatch.setattr("time.time_ns", lambda: later + 1)
    assert identity.shows_next_change()


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("a/x", True),
        ("a/b/../x", True),
        ("a/../x", False),
        ("ab/x", False),
        ("x", False),
    ],
)
def test_is_below(tmp_path: Path, path: str, below: bool) -> None:
    assert is_below(f"{tmp_path}/a", f"{tmp_path}/{path}") is below


@pytest.mark.parametrize("kind", ["registry", "store"])
@pytest.mark.parametrize(
    ("directory", "problem"),
    [
        ("", "is empty; set it to an absolute path, or remove the line for the default"),
        ("images", "'images' is a relative path; write an absolute path, from / on"),
        ("./images", "'./images' is a relative path; write an absolute path, from / on"),
        ("~/images", "'~/images' is a relative path; write an absolute path, from / on"),
    ],
)
def test_a_folder_that_depends_on_where_the_process_started_is_refused(
    kind: str, directory: str, problem: str, tmp_path: Path
) -> None:
    section = f"imageapi_{kind}_file"
    (found,) = problems_of(tmp_path, f"[{section}]\ndirectory = {directory}\n")
    assert found.startswith(f"[{section}] directory: {problem} (")
