# SPDX-License-Identifier: Apache-2.0
import io
import os
import stat
import sys
from typing import Any

import pytest

from tests.deployment import Deployment


def test_prints_the_id(
    deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = deployment.folder / "disk.raw"
    source.write_bytes(b"data")
    assert run("add", str(source)) == 0
    image_id = capsys.readouterr().out.strip()
    assert deployment.data_path(image_id).read_bytes() == b"data"


def test_all_options(deployment: Deployment, run: Any, capsys: Any) -> None:
    source = deployment.folder / "disk.raw"
    source.write_bytes(b"data")
    options = (
        "--id i --name n\u00e9 --disk-format qcow2 --container-format bare --min-disk 5"
        " --min-ram 256 --private --owner p1 --property a=b=c --property empty="
    )
    assert run("add", str(source), *options.split()) == 0
    capsys.readouterr()
    assert run("show", "i") == 0
    shown = capsys.readouterr().out.splitlines()
    for line in (
        "Name: n\u00e9",
        "Disk_format: qcow2",
        "Container_format: bare",
        "Size: 4",
        "Is_public: False",
        "Min_ram: 256",
        "Min_disk: 5",
        "Owner: p1",
        "Property-A: b=c",
        "Property-Empty: ",
        f"Data: store 'file', file://{deployment.data_path('i')}: 4 bytes",
    ):
        assert line in shown


def test_standard_input(deployment: Deployment, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"data"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run("add", "-", "--id", "i") == 0
    assert deployment.data_path("i").read_bytes() == b"data"


def test_id_that_exists(
    deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.add("i", b"before")
    source = deployment.folder / "disk.raw"
    source.write_bytes(b"data")
    assert run("add", str(source), "--id", "i") == 1
    assert "image i exists already" in capsys.readouterr().err
    assert deployment.data_path("i").read_bytes() == b"before"


def test_no_such_file(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("add", "/absent/disk.raw") == 1
    assert capsys.readouterr().err == "imageapi: /absent/disk.raw: No such file or directory\n"


def test_folder_instead_of_a_file(
    deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("add", str(deployment.folder)) == 1
    assert "Is a directory" in capsys.readouterr().err


def test_warns_of_what_cannot_be_sent(
    deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = deployment.folder / "disk.raw"
    source.write_bytes(b"")
    assert run("add", str(source), "--property", "a b=c") == 0
    assert "warning: property 'a b' is not sent" in capsys.readouterr().err


@pytest.mark.parametrize("core", ["stores = memory, file", "registry = memory"])
def test_needs_both_backends_to_be_of_a_kind(
    core: str, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.configure(core=core)
    assert run("add", os.devnull) == 1
    assert "both as file, or both as swift" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--id", "a/b"],
        ["--id", "detail"],
        ["--id", "x" * 256],
        ["--id", "\udcff"],
        ["--name", "\udcff"],
        ["--owner", "\udcff"],
        ["--disk-format", "\udcff"],
        ["--container-format", "\udcff"],
        ["--property", "a=\udcff"],
        ["--property", "\udcff=a"],
        ["--property", "a"],
        ["--property", "=b"],
        ["--min-ram", "-1"],
        ["--min-disk", "x"],
    ],
)
def test_wrong_options(run: Any, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("add", os.devnull, *words)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert f"argument {words[0]}" in told
    assert ("is not UTF-8" in told) == ("\udcff" in words[1] and words[0] != "--id")


@pytest.mark.parametrize(("private", "mode"), [([], 0o644), (["--private"], 0o640)])
def test_modes(deployment: Deployment, run: Any, private: list[str], mode: int) -> None:
    before = os.umask(0o022)
    try:
        assert run("add", os.devnull, "--id", "i", *private) == 0
    finally:
        os.umask(before)
    for path in (deployment.data_path("i"), deployment.record_path("i")):
        assert stat.S_IMODE(path.stat().st_mode) == mode
