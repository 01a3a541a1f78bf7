# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.config import plugins
from tests.unit.commands.conftest import Run


def test_all(run: Run) -> None:
    status, out, _ = run("drivers")
    assert status == 0
    for line in (
        "registry 'file' of imageapi",
        "store 'swift' of imageapi",
        "policy 'rules' of imageapi",
        "    trust_times (boolean, default: True): Whether unchanged times",
        "    suffix (string, default: empty): Text after the id",
        "    allowed_urls (list, default: empty): URL prefixes",
        "    connection (string, required, secret): The URL",
        "    proxy (string, secret): The URL of a proxy.",
    ):
        assert line in out


def test_one_name(run: Run) -> None:
    status, out, _ = run("drivers", "file")
    heads = [line.split(" of ")[0] for line in out.splitlines() if not line.startswith(" ")]
    assert (status, heads) == (0, ["registry 'file'", "store 'file'"])


def test_driver_that_cannot_be_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = plugins.Driver("store", "acme", "acme 1.0", (), "ImportError: No module named 'x'")
    monkeypatch.setattr(plugins, "installed", lambda: iter([broken]))
    assert run("drivers") == (
        1,
        "store 'acme' of acme 1.0\n    cannot be used: ImportError: No module named 'x'\n",
        "",
    )
    error = "imageapi: no driver is named 'absent'; imageapi drivers lists all\n"
    assert run("drivers", "absent") == (1, "", error)
