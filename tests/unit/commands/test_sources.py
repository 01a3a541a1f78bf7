# SPDX-License-Identifier: Apache-2.0
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from imageapi.backends.writing import WriteError
from imageapi.commands.sources import (
    ChunkFile,
    interruptible,
    located,
    opened,
    progress_bar,
    with_progress,
)
from imageapi.errors import BackendUnavailable
from imageapi.image import Image, Location
from tests.memory import Memory

IMAGE = Image(id="i", status="active")


def test_file(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"data")
    with opened(str(tmp_path / "disk")) as file:
        assert file.read() == b"data"
    assert file.closed


def test_file_that_does_not_exist(tmp_path: Path) -> None:
    path = str(tmp_path / "absent")
    with pytest.raises(WriteError, match=f"^{path}: No such file or directory$"), opened(path):
        pass


def test_hyphen_is_standard_input_which_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input = io.BytesIO(b"data")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=standard_input))
    with opened("-") as file:
        assert file.read() == b"data"
    assert not standard_input.closed


def test_location_is_read_by_its_store_and_closed(memory: Memory) -> None:
    memory.second.put("i", b"from the second")
    with located(Location("memory:i", "second"), IMAGE, memory.api.backends) as file:
        assert file.read() == b"from the second"
        assert memory.second.open_blobs == 1
    assert memory.second.open_blobs == 0


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (Location("memory:absent"), "no data was put at this location"),
        (Location("ftp://user:s3cret@host/i"), "no store opens a 'ftp' location"),
        (Location("memory:i", "third"), "no store named 'third'"),
    ],
)
def test_location_that_cannot_be_opened(memory: Memory, location: Location, told: str) -> None:
    with (
        pytest.raises(WriteError, match=told) as raised,
        located(location, IMAGE, memory.api.backends),
    ):
        pass
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_chunks_are_read_as_a_file(size: int) -> None:
    file = ChunkFile(iter([b"0123", b"4", b"56789"]))
    read = iter(lambda: file.read(size), b"")
    assert b"".join(read) == b"0123456789"
    assert file.read(size) == b""


def test_store_that_fails_in_the_middle() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"data"
        raise BackendUnavailable("reset")

    file = ChunkFile(chunks())
    assert file.read(4) == b"data"
    with pytest.raises(WriteError, match=r"^the data cannot be read: reset$"):
        file.read(1)


def test_what_is_read_is_counted_and_hashed() -> None:
    with with_progress(io.BytesIO(b"data"), 4) as data:
        assert data.expected_size() == 4
        assert data.read(100) == b"data"
    assert (data.digests().size, data.digests().md5) == (4, "8d777f385d3dfec8815d20f7496026dc")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_interrupts_as_control_c_does(number: signal.Signals) -> None:
    before = signal.signal(number, lambda *_: None)
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) not in (signal.default_int_handler, signal.SIG_DFL)
    finally:
        signal.signal(number, before)


def test_signal_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_progress_bar_is_for_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("i", 5) as bar:
        bar.update(5)
    assert capsys.readouterr() == ("", "")
