# SPDX-License-Identifier: Apache-2.0
import errno
import importlib.metadata
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import imageapi
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.commands import changes, main
from imageapi.image import Image
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run


@pytest.mark.parametrize(
    "command", [["check"], ["serve"], ["show", "i"], ["add", os.devnull, "--public"]]
)
def test_wrong_configuration(deployment: Deployment, run: Run, command: list[str]) -> None:
    deployment.configure(core="registry = flie\nstores = swfit")
    status, _, err = run(*command)
    assert status == 1
    lines = err.splitlines()
    assert [line.split(":")[1] for line in lines] == [" [imageapi] registry", " [imageapi] stores"]


#: What takes long to import, and what neither the package nor the help needs.
_SLOW_IMPORTS = {
    *("asyncio", "importlib.metadata", "oslo_config", "oslo_policy", "requests"),
    *("sqlalchemy", "ssl", "stevedore", "urllib.request", "urllib3", "webob"),
}


@pytest.mark.parametrize(
    "code", ["import imageapi", "from imageapi.commands import main; main.main(['--help'])"]
)
def test_quick_imports(code: str) -> None:
    """In a new process: in this one, the modules are imported already."""
    program = f"""
import sys
try:
    {code}
finally:
    print("imported:", *sorted(sys.modules), file=sys.stderr)
"""
    # -S: packages may have .pth files that import modules at each start of the interpreter.
    program = f"import sys; sys.path[:] = {sys.path!r}\n{program}"
    command = [sys.executable, "-S", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = set(ended.stderr.split())
    assert "imageapi.errors" in imported
    assert not _SLOW_IMPORTS & imported


@pytest.mark.parametrize("command", main._COMMANDS)
def test_each_command_has_its_arguments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main([command, "--help"])
    assert caught.value.code == 0
    assert "--config-file F" in capsys.readouterr().out or command == "cache"


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["serve", "--port", "0"], ["serve", "--workers", "0"]]
)
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(words)
    assert caught.value.code == 2
    assert "usage: imageapi" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "show i",
        "list",
        "list --marker i",
        "verify i",
        "verify --all",
        "check",
        "export i --to FOLDER",
        "import i --from FOLDER/imageapi.conf",
    ],
)
def test_commands_read_records_as_they_are_now(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    deployment.add("i", b"data")
    deployment.record("gone", status="deleted")
    get, get_all = FileRegistry.get, FileRegistry.list
    asked = []

    def get_newest(registry: FileRegistry, image_id: str, caller: Caller) -> Image:
        asked.append(image_id)
        return get(registry, image_id, caller)

    def get_page(registry: FileRegistry, query: ListQuery, caller: Caller) -> Iterator[Image]:
        with monkeypatch.context() as patch:
            patch.setattr(FileRegistry, "get", get)
            images = list(get_all(registry, query, caller))
        yield from images

    monkeypatch.setattr(FileRegistry, "list", get_page)
    monkeypatch.setattr(FileRegistry, "get_newest", get_newest)
    monkeypatch.setattr(FileRegistry, "get", lambda *_: pytest.fail("an old record will do"))
    folder = deployment.config_file.parent
    status, *told = run(*words.replace("FOLDER", str(folder)).split())
    assert status == 0, told
    assert asked


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


def test_interrupted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(changes, "add", interrupt)
    words = ("add", os.devnull, "--public")
    assert run(*words) == (1, "", "imageapi: interrupted\n")


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
    run: Run, monkeypatch: pytest.MonkeyPatch, error: OSError, told: str
) -> None:
    monkeypatch.setattr(sys, "stdout", Output(error))
    status, _, err = run("list")
    assert status == 1
    assert err.startswith(told)
