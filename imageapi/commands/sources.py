# SPDX-License-Identifier: Apache-2.0
"""Where the commands read image data: a file, standard input, or a store."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from tqdm import tqdm

from imageapi.backends.writing import HashingReader, WriteError
from imageapi.commands.configured import OPERATOR
from imageapi.config.plugins import Backends
from imageapi.download.store_choice import UnusableLocation, data_locations_of
from imageapi.errors import BackendError
from imageapi.image import Image, Location


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file; ``-`` is standard input.

    :raises WriteError: it cannot be opened.
    """
    if path == "-":
        yield sys.stdin.buffer
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise WriteError(f"{path}: {error.strerror}") from None
        yield file


@contextlib.contextmanager
def located(location: Location, image: Image, backends: Backends) -> Iterator[BinaryIO]:
    """Open the data at a location by the configured stores.

    :raises WriteError: no store opens it.
    """
    (found,) = data_locations_of(replace(image, locations=(location,)), backends.stores)
    if isinstance(found, UnusableLocation):
        raise WriteError(f"{location.redacted()}: {found.reason}")
    try:
        blob = found.open(0, None, None, OPERATOR)
    except BackendError as error:
        raise WriteError(f"{location.redacted()}: {error}") from None
    with contextlib.closing(blob):
        yield io.BufferedReader(ChunkFile(blob))


class ChunkFile(io.RawIOBase):
    """Chunks of data, read as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes.

        :raises WriteError: the store cannot read them.
        """
        if not self._rest:
            try:
                self._rest = next(self._chunks, b"")
            except BackendError as error:
                raise WriteError(f"the data cannot be read: {error}") from None
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


@contextlib.contextmanager
def with_progress(source: BinaryIO, size: int | None = None) -> Iterator[HashingReader]:
    """Read data, and show a progress bar if this is a terminal.

    :param size: the number of bytes; None if the source itself may know it.
    """
    known_size = size
    if size is None:
        with contextlib.suppress(OSError):
            size = os.fstat(source.fileno()).st_size or None
    with tqdm(total=size, unit="B", unit_scale=True, disable=None, file=sys.stderr) as bar:
        yield HashingReader(source, bar.update, known_size)


def progress_bar(name: str, size: int | None) -> Any:
    """Return a progress bar, shown only on a terminal, which its context manager removes.

    :param size: the number of bytes; None if unknown.
    """
    return tqdm(
        total=size,
        desc=name,
        unit="B",
        unit_scale=True,
        disable=None,
        leave=False,
        file=sys.stderr,
    )


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Clean up at SIGTERM and SIGHUP too, unless the signal is ignored, as by nohup."""
    before = [
        (number, signal.signal(number, signal.default_int_handler))
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
