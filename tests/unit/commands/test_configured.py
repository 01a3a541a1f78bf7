# SPDX-License-Identifier: Apache-2.0
from argparse import Namespace
from pathlib import Path

import pytest

from imageapi.commands import main
from imageapi.commands.configured import config_of, open_backends
from imageapi.config import options
from imageapi.config.plugins import Backends
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run


@pytest.mark.parametrize(("option", "expected"), [("option.conf", "option"), (None, "environment")])
def test_the_option_comes_before_the_environment(
    option: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("option", "environment"):
        (tmp_path / f"{name}.conf").write_text(f"[imageapi]\nregistry = {name}\n")
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", str(tmp_path / "environment.conf"))
    conf = config_of(Namespace(config_file=option and [str(tmp_path / option)]))
    conf.register_opts(options.CORE, options.GROUP)
    assert conf.imageapi.registry == expected


def test_backends_are_closed_after_an_error_too(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Backends] = []
    monkeypatch.setattr(Backends, "close", lambda self: closed.append(self))
    asked = Namespace(config_file=[str(deployment.config_file)])
    with pytest.raises(KeyError), open_backends(asked) as backends:
        raise KeyError
    assert closed == [backends]


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
    deployment: Deployment, run: Run, text: str
) -> None:
    deployment.config_file.write_text(text)
    status, _, error = run("check")
    assert status == 1
    assert str(deployment.config_file) in error
    assert "Traceback" not in error


def test_configuration_files_before_and_after_the_command(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    later = deployment.folder / "later.conf"
    later.write_text("[imageapi]\npolicy = visible\n")
    words = ["--config-file", str(deployment.config_file), "check", "--config-file", str(later)]
    assert main.main(words) == 0
    assert "policy 'visible'" in capsys.readouterr().out


def test_looked_for_files_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("IMAGEAPI_CONFIG_FILE", raising=False)
    config_of(Namespace(config_file=[]))
    (message,) = caplog.messages
    assert message == (
        "there is no configuration file, so all options have their defaults: looked for"
        " ~/.imageapi/imageapi.conf, ~/imageapi.conf, /etc/imageapi/imageapi.conf,"
        " /etc/imageapi.conf; name another file with --config-file"
    )
