# SPDX-License-Identifier: Apache-2.0
import errno
import importlib.metadata
import io
import logging
import os
import sys
from typing import Any

import pytest

import imageapi
from imageapi.backends.file.store import FileStore
from imageapi.commands import main
from tests.deployment import Deployment


@pytest.fixture
def run(deployment: Deployment) -> Any:
    """Run the command over the deployment's configuration; return its status."""
    return lambda *words: main.main(["--config-file", str(deployment.config_file), *words])


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


@pytest.mark.parametrize(
    "command", [["check"], ["serve"], ["show", "i"], ["list"], ["add", os.devnull, "--public"]]
)
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


class Output:
    """Where the command prints; it fails when it is flushed."""

    encoding = "utf-8"

    def __init__(self, error: OSError) -> None:
        self.error = error

    def write(self, _: str) -> None:
        pass

    def flush(self) -> None:
        raise self.error

    def fileno(self) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), ""),
        (OSError(errno.ENOSPC, "No space left on device"), "imageapi: No space left on device\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "imageapi: /x: Permission"),
    ],
)
def test_output_that_cannot_be_written(
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: OSError,
    told: str,
) -> None:
    monkeypatch.setattr(sys, "stdout", Output(error))
    assert run("list") == 1
    assert capsys.readouterr().err.startswith(told)
