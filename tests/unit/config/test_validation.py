# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest
from oslo_config import cfg

import imageapi
from imageapi.config import plugins
from imageapi.config.validation import Sections
from imageapi.errors import ConfigurationError
from tests.configuration import load

OPTIONS = [
    cfg.StrOpt("endpoint", required=True),
    cfg.IntOpt("pool", default=5, min=1, deprecated_name="size"),
    cfg.IntOpt("pin", secret=True),
]


def sections_of(tmp_path: Path, text: str) -> Sections:
    """Sections of a file, of which ``imageapi_store_acme`` is registered for acme 1.0."""
    path = tmp_path / "imageapi.conf"
    path.write_text(text)
    sections = Sections(imageapi.load_config([path]))
    sections.register("imageapi_store_acme", OPTIONS, "of acme 1.0")
    sections.report_unknown_options()
    return sections


@pytest.mark.parametrize(
    "lines", ["endpoint = x", "endpoint = x\npool = 1", "endpoint = x\nsize = 1"]
)
def test_usable(tmp_path: Path, lines: str) -> None:
    assert sections_of(tmp_path, f"[imageapi_store_acme]\n{lines}\n").problems == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("pool = 0", "pool: .* in FILE is not valid.* \\(of acme 1.0\\)"),
        ("endpiont = y", "endpiont: there is no such option \\(did you mean 'endpoint'\\?\\)"),
        ("endpiont = y", "\\(in FILE; of acme 1.0\\)"),
        ("zzz = y", "zzz: there is no such option \\(in FILE; of acme 1.0\\)"),
    ],
)
def test_wrong_lines(tmp_path: Path, line: str, problem: str) -> None:
    sections = sections_of(tmp_path, f"[imageapi_store_acme]\nendpoint = x\n{line}\n")
    (told,) = sections.problems
    assert told.startswith("[imageapi_store_acme] ")
    assert re.search(problem.replace("FILE", str(tmp_path / "imageapi.conf")), told)


def test_secret_is_not_repeated(tmp_path: Path) -> None:
    lines = "[imageapi_store_acme]\nendpoint = x\npin = s3cret\n"
    (told,) = sections_of(tmp_path, lines).problems
    assert told.startswith("[imageapi_store_acme] pin: its value in /")
    assert told.endswith("imageapi.conf is not valid (of acme 1.0)")


def test_part_of_a_secret_is_not_repeated_either(tmp_path: Path) -> None:
    """oslo.config takes what follows a dollar sign for the name of an option."""
    lines = "[imageapi_store_acme]\nendpoint = x\npin = 12$s3cret\n"
    (told,) = sections_of(tmp_path, lines).problems
    assert "pin: has a $ reference" in told
    assert "s3cret" not in told


@pytest.mark.parametrize(("line", "file"), [("", ""), ("endpoint =", "in FILE; ")])
def test_missing_line(tmp_path: Path, line: str, file: str) -> None:
    (told,) = sections_of(tmp_path, f"[imageapi_store_acme]\n{line}\n").problems
    file = file.replace("FILE", str(tmp_path / "imageapi.conf"))
    assert told == f"[imageapi_store_acme] endpoint: must be set ({file}of acme 1.0)"


def test_unusable_options_are_named(tmp_path: Path) -> None:
    sections = sections_of(tmp_path, "[other]\npool = x\n")
    assert sections.register("other", OPTIONS) == ["endpoint", "pool"]


def test_options_of_the_application_itself(tmp_path: Path) -> None:
    conf = imageapi.load_config([])
    conf.register_opt(cfg.IntOpt("endpoint"), group="imageapi_store_acme")
    with pytest.raises(ConfigurationError, match="clash with those of the application"):
        Sections(conf).register("imageapi_store_acme", OPTIONS)


def test_section_of_a_backend_that_is_not_named_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(tmp_path, "[imageapi]\n[imageapi_store_flie]\ndirectory = x\n[other]\nx = y\n")
    (message,) = caplog.messages
    assert message.startswith("[imageapi_store_flie] in ")
    assert message.endswith("is not used (did you mean 'imageapi_store_file'?)")


def test_misspelt_section_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, "[imagepi]\n[imagepi_policy_rules]\npolicy_file = x\n[oslo_policy]\n")
    assert [message.split(" in ")[0] for message in caplog.messages] == [
        "[imagepi]",
        "[imagepi_policy_rules]",
    ]


def test_file_that_cannot_be_read_again_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A host may have left the folder that its file was named in, as daemons do."""
    (tmp_path / "host.conf").write_text("[imageapi]\npolicy = visible\n")
    monkeypatch.chdir(tmp_path)
    conf = imageapi.load_config(["host.conf"])
    monkeypatch.chdir("/")
    assert plugins.load(conf).policy.name == "visible"
    (message,) = caplog.messages
    assert message.startswith("host.conf cannot be read again")
