# SPDX-License-Identifier: Apache-2.0
import ast
import os
import tomllib
from pathlib import Path

import pytest

from tests.unit.commands.conftest import Run

KINDS = ("store", "registry", "policy")


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind(tmp_path: Path, run: Run, kind: str) -> None:
    folder = tmp_path / "imageapi-acme"
    status, out, _ = run("new-plugin", str(folder), "--kind", kind)
    assert (status, out.splitlines()[-2]) == (0, f"driver 'acme': {kind}")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    modules = ("__init__", "database", "opts", kind)
    assert files == {
        "pyproject.toml",
        f"tests/test_{kind}.py",
        *(f"imageapi_acme/{module}.py" for module in modules),
    }
    for name in files - {"pyproject.toml"}:
        ast.parse((folder / name).read_text())
        text = (folder / name).read_text()
        assert not any(f"SQLite{one.capitalize()}" in text for one in KINDS)
        assert not any(f"Acme{one.capitalize()}" in text for one in KINDS if one != kind)
    entries = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]
    assert entries == {
        f"imageapi.{kind}": {"acme": f"imageapi_acme.{kind}:Acme{kind.capitalize()}"},
        "oslo.config.opts": {"imageapi_acme": "imageapi_acme.opts:list_opts"},
    }


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("imageapi-file", "'file' is a store of imageapi: choose another name"),
        ("My-Plugin", "'My-Plugin' names no driver: call the DIRECTORY imageapi-NAME"),
        ("imageapi-", "'imageapi-' names no driver"),
    ],
)
def test_names_that_no_driver_may_have(tmp_path: Path, run: Run, name: str, told: str) -> None:
    status, out, error = run("new-plugin", str(tmp_path / name))
    assert (status, out) == (1, "")
    assert error.startswith(f"imageapi: {told}")
    assert list(tmp_path.glob(f"{name}/*")) == []


def test_nothing_is_overwritten(tmp_path: Path, run: Run) -> None:
    (tmp_path / "acme" / "tests").mkdir(parents=True)
    there = tmp_path / "acme" / "tests" / "test_store.py"
    for make in (lambda: there.write_text("mine"), lambda: os.symlink("absent", there)):
        make()
        status, _, error = run("new-plugin", str(tmp_path / "acme"))
        told = f"imageapi: {there} exists already: name another DIRECTORY\n"
        assert (status, error) == (1, told)
        assert os.listdir(tmp_path / "acme") == ["tests"]
        there.unlink()


def test_folder_that_cannot_be_written(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").write_text("")
    status, _, error = run("new-plugin", str(tmp_path / "file" / "acme"))
    assert (status, error) == (
        1,
        f"imageapi: {tmp_path}/file/acme/imageapi_acme: Not a directory\n",
    )
