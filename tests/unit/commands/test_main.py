# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import io
import logging
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import imageapi
from imageapi.backends.file import writer
from imageapi.backends.file.store import FileStore
from imageapi.commands import main
from tests.deployment import Deployment

SECRET_LOCATION = "swift+https://user:s3cret@host/v1/c/o?sig=s1gnature"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command sets logging up as an application does."""
    root, ours = logging.getLogger(), logging.getLogger("imageapi")
    before = root.level, root.handlers[:], ours.level
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    ours.setLevel(before[2])


@pytest.fixture
def run(deployment: Deployment) -> Any:
    """Run the command over the deployment's configuration."""
    return lambda *words: main.main(["--config-file", str(deployment.config_file), *words])


class TestAdd:
    def test_prints_the_id(
        self, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = deployment.folder / "disk.raw"
        source.write_bytes(b"data")
        assert run("add", str(source)) == 0
        image_id = capsys.readouterr().out.strip()
        assert deployment.data_path(image_id).read_bytes() == b"data"

    def test_all_options(self, deployment: Deployment, run: Any, capsys: Any) -> None:
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

    def test_standard_input(
        self, deployment: Deployment, run: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stdin = io.TextIOWrapper(io.BytesIO(b"data"))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run("add", "-", "--id", "i") == 0
        assert deployment.data_path("i").read_bytes() == b"data"

    def test_id_that_exists(
        self, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        deployment.add("i", b"before")
        source = deployment.folder / "disk.raw"
        source.write_bytes(b"data")
        assert run("add", str(source), "--id", "i") == 1
        assert "image i exists already" in capsys.readouterr().err
        assert deployment.data_path("i").read_bytes() == b"before"

    def test_no_such_file(self, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("add", "/absent/disk.raw") == 1
        assert capsys.readouterr().err == "imageapi: /absent/disk.raw: No such file or directory\n"

    def test_folder_instead_of_a_file(
        self, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("add", str(deployment.folder)) == 1
        assert "Is a directory" in capsys.readouterr().err

    def test_warns_of_what_cannot_be_sent(
        self, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = deployment.folder / "disk.raw"
        source.write_bytes(b"")
        assert run("add", str(source), "--property", "a b=c") == 0
        assert "warning: property 'a b' is not sent" in capsys.readouterr().err

    @pytest.mark.parametrize("core", ["stores = memory, file", "registry = memory"])
    def test_needs_both_backends_to_be_of_a_kind(
        self, core: str, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
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
    def test_wrong_options(
        self, run: Any, words: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as caught:
            run("add", os.devnull, *words)
        assert caught.value.code == 2
        told = capsys.readouterr().err
        assert f"argument {words[0]}" in told
        assert ("is not UTF-8" in told) == ("\udcff" in words[1] and words[0] != "--id")

    @pytest.mark.parametrize(("private", "mode"), [([], 0o644), (["--private"], 0o640)])
    def test_modes(self, deployment: Deployment, run: Any, private: list[str], mode: int) -> None:
        before = os.umask(0o022)
        try:
            assert run("add", os.devnull, "--id", "i", *private) == 0
        finally:
            os.umask(before)
        for path in (deployment.data_path("i"), deployment.record_path("i")):
            assert stat.S_IMODE(path.stat().st_mode) == mode


class TestShow:
    def test_absent(self, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("show", "absent") == 1
        error = capsys.readouterr().err
        assert error == "imageapi: image absent: registry 'file': no record\n"

    def test_nothing_that_a_terminal_would_obey(
        self, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        deployment.add("i", b"data", members=["\x1b[2Jp", "\ud800"], name="\x1b[2Jn")
        assert run("show", "i") == 0
        shown = capsys.readouterr().out
        assert "Name:  [2Jn" in shown
        assert "Members:  [2Jp, \\ud800" in shown

    def test_malformed(
        self, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        deployment.record_path("i").write_text("{")
        assert run("show", "i") == 1
        assert str(deployment.record_path("i")) in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("fields", "told", "status"),
        [
            ({"location": "file://{}/absent"}, "file://{}/absent: {}/absent: No such file", 1),
            ({"location": "file:///etc/passwd"}, "/etc/passwd is not below {}", 1),
            (
                {"location": SECRET_LOCATION},
                "no store, swift+https://host/v1/c/o: no store opens",
                1,
            ),
            ({"locations": ["rbd:x", "file://{}/i"]}, "store 'file', file://{}/i: 4 bytes", 0),
            ({"size": 5}, "4 bytes, but the record says 5 bytes", 1),
            ({"members": ["p2", "p1"]}, "Members: p1, p2", 0),
        ],
    )
    def test_where_the_data_is(
        self,
        deployment: Deployment,
        run: Any,
        capsys: pytest.CaptureFixture[str],
        fields: dict[str, Any],
        told: str,
        status: int,
    ) -> None:
        images = str(deployment.images)
        for name in ("location", "locations"):
            if name in fields:
                value = fields[name]
                filled = [one.format(images) for one in ([value] if name == "location" else value)]
                fields = {"locations": filled}
        deployment.add("i", b"data", **fields)
        assert run("show", "i") == status
        shown = capsys.readouterr().out
        assert told.format(images, images) in shown
        assert "s3cret" not in shown
        assert "s1gnature" not in shown


class TestCheck:
    def test_fine(
        self, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        deployment.configure(
            core="stores = fast:file, file",
            more=f"[imageapi_store_fast]\ndirectory = {deployment.images}",
        )
        assert run("check") == 0
        of_ours = f"of imageapi {importlib.metadata.version('imageapi')}): ok"
        assert capsys.readouterr().out.splitlines() == [
            f"registry 'file' (driver 'file' {of_ours}, directory {deployment.registry}",
            f"store 'fast' (driver 'file' {of_ours}, directory {deployment.images}",
            f"store 'file' (driver 'file' {of_ours}, directory {deployment.images}",
            f"policy 'rules' (driver 'rules' {of_ours}, the default rules (policy_file is not set)",
        ]

    @pytest.mark.parametrize(
        ("check", "told", "logged"),
        [
            (lambda: None, "check() must return a str, not NoneType", ""),
            (
                lambda: [][0],
                "store 'file' raised IndexError",
                "IndexError: list index",
            ),
        ],
    )
    def test_bug_of_a_backend(
        self,
        run: Any,
        check: Any,
        told: str,
        logged: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(FileStore, "check", lambda _self: check())
        assert run("check") == 1
        assert told in capsys.readouterr().out
        assert logged in caplog.text
        assert ("Traceback" in caplog.text) is bool(logged)

    def test_broken(
        self, deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        deployment.images.rmdir()
        assert run("check") == 1
        shown = capsys.readouterr().out
        assert f"{deployment.images}: No such file or directory" in shown
        assert shown.count(": ok") == 2


@pytest.mark.parametrize("command", [["check"], ["serve"], ["show", "i"], ["add", os.devnull]])
def test_wrong_configuration(
    deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    deployment.configure(core="registry = flie\nstores = swfit")
    assert run(*command) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in lines] == [" [imageapi] registry", " [imageapi] stores"]


@pytest.mark.parametrize("how", ["option", "environment"])
def test_configuration_file_that_is_not_there(
    how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--config-file", "/absent.conf"] if how == "option" else []
    if how == "environment":
        monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", "/absent.conf")
    assert main.main([*words, "check"]) == 1
    assert "/absent.conf" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["no section\n", "[imageapi\n", "[imageapi]\nchunk_size\n"])
def test_configuration_file_that_cannot_be_parsed(
    deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    deployment.config_file.write_text(text)
    assert run("check") == 1
    error = capsys.readouterr().err
    assert str(deployment.config_file) in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["serve", "--port", "0"], ["serve", "--workers", "0"]]
)
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(words)
    assert caught.value.code == 2
    assert "usage: imageapi" in capsys.readouterr().err


def test_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["--version"])
    assert caught.value.code == 0
    installed = importlib.metadata.version("imageapi")
    assert capsys.readouterr().out == f"imageapi {installed}\n"
    assert imageapi.__version__ == installed


def test_package_has_no_other_lazy_attribute() -> None:
    with pytest.raises(AttributeError, match="'imageapi' has no attribute 'nonsense'"):
        getattr(imageapi, "nonsense")  # noqa: B009 - mypy refuses the plain access


@pytest.mark.parametrize("debug", [True, False])
def test_debug_lets_no_library_through(deployment: Deployment, debug: bool) -> None:
    words = ["--debug"] if debug else []
    assert main.main(["--config-file", str(deployment.config_file), *words, "check"]) == 0
    for library in ("urllib3", "stevedore", "oslo_config", "oslo_policy", "keystoneauth"):
        assert not logging.getLogger(library).isEnabledFor(logging.INFO)
    assert logging.getLogger("imageapi.api").isEnabledFor(logging.DEBUG) is debug


def test_serve_without_gunicorn(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageapi.commands.server", None)
    assert run("serve") == 1
    assert "pip install 'imageapi[server]'" in capsys.readouterr().err


def test_interrupted(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "add_image", interrupt)
    assert run("add", os.devnull) == 1
    assert capsys.readouterr().err == "imageapi: interrupted\n"
