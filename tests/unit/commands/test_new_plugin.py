# SPDX-License-Identifier: Apache-2.0
import ast
import os
import re
import tomllib
from pathlib import Path

import pytest

from tests.unit.commands.conftest import Run

KINDS = ("store", "registry", "policy")

# What only one kind needs: words of the generated code that it must have.
WORDS = {
    "store": ("files", "chunks", "put_file", "data_writer", "uuid"),
    "registry": ("records", "put_record", "record_writer", "document"),
    "policy": ("grants", "grant", "GRANT"),
}
WRITERS = {"store": ("data_writer",), "registry": ("record_writer",), "policy": ()}


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind(tmp_path: Path, run: Run, kind: str) -> None:
    folder = tmp_path / "imageapi-acme"
    status, out, _ = run("new-plugin", str(folder), "--kind", kind)
    assert (status, out.splitlines()[-2]) == (0, f"driver 'acme': {kind}")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    modules = ("__init__", "database", "opts", kind, *WRITERS[kind])
    assert files == {
        "pyproject.toml",
        f"tests/test_{kind}.py",
        *(f"imageapi_acme/{module}.py" for module in modules),
    }
    texts = {name: (folder / name).read_text() for name in files}
    for name in files - {"pyproject.toml"}:
        ast.parse(texts[name])
    everything = "\n".join(texts.values())
    assert not re.search(r"SQLite[A-Z]|@|#\[", everything.replace("@classmethod", ""))
    for other in KINDS:
        names = (f"Acme{other.capitalize()}", *WORDS[other])
        found = [word for word in names if re.search(rf"\b{word}\b", everything)]
        assert found == (list(names) if other == kind else [])
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["description"] == f"A {kind} for imageapi"
    assert texts["imageapi_acme/__init__.py"] == f'"""A {kind} for imageapi."""\n'
    assert project["entry-points"] == {
        f"imageapi.{kind}": {"acme": f"imageapi_acme.{kind}:Acme{kind.capitalize()}"},
        "oslo.config.opts": {"imageapi_acme": "imageapi_acme.opts:list_opts"},
    }


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ((), "A store, a registry and a policy for imageapi"),
        (("policy", "store"), "A store and a policy for imageapi"),
    ],
)
def test_description(tmp_path: Path, run: Run, kinds: tuple[str, ...], told: str) -> None:
    run("new-plugin", str(tmp_path / "acme"), *(f"--kind={kind}" for kind in kinds))
    assert f'description = "{told}"' in (tmp_path / "acme" / "pyproject.toml").read_text()


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
