# SPDX-License-Identifier: Apache-2.0
import dataclasses
from typing import Any

import pytest

from imageapi.commands import demo, main
from imageapi.image import Image


def test_shows_the_download_and_compares_the_checksums(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["demo"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("> GET /v1/images/71c675ab-d94f-49cd-a114-e12490b328d9 HTTP/1.1\n")
    assert "< HTTP/1.1 200 OK\n" in shown
    assert "< (3145728 bytes)\n" in shown
    assert shown.endswith("The checksums match.\n")


def test_another_checksum_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = demo._add_sample

    def with_another_checksum(api: Any) -> Image:
        return dataclasses.replace(add(api), checksum="0" * 32)

    monkeypatch.setattr(demo, "_add_sample", with_another_checksum)
    assert main.main(["demo"]) == 1
    assert capsys.readouterr().out.endswith("The checksums differ!\n")
