# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import logging
import os
from typing import Any

import pytest

import imageapi
from imageapi.backends.file import writer
from imageapi.commands import main
from tests.deployment import Deployment


@pytest.mark.parametrize("command", [["check"], ["serve"], ["show", "i"], ["add", os.devnull]])
def test_wrong_configuration(
    deployment: Deployment, run: Any, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    deployment.configure(core="registry = flie\nstores = swfit")
    assert run(*command) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in lines] == [" [imageapi] registry", " [imageapi] stores"]


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


def test_interrupted(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer, "add_image", interrupt)
    assert run("add", os.devnull) == 1
    assert capsys.readouterr().err == "imageapi: interrupted\n"
