# SPDX-License-Identifier: Apache-2.0
"""Writes to a client's socket in the thread that has just read the data.

An event loop wakes for each chunk, and copies what the system does not take at once.
If a client takes everything at once, a thread reads and writes instead.
"""

import asyncio
import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import Protocol

#: The ASGI extension with which a server passes a connection's `Writer`.
EXTENSION = "imageapi.writer"

# How many threads write at once.  More would only wait for the interpreter's lock.
TURNS = 2

# How many seconds an answer waits for a turn.  Backends that hang may hold all turns.
_TURN_PATIENCE = 0.1

# How many answers at once may hold a large chunk that the client has not taken.
STALLED = 50

# How many unsent bytes the system may hold for a client during a turn.  With the usual
# limit, it would take each chunk in pieces.
_HELD = (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
_AHEAD = 2 * 2**20

# Within how many milliseconds a client must take more data.
CLIENT_PATIENCE = 2


class Turns:
    """Limits how many threads write at once; belongs to one event loop.

    :ivar waiting: how many answers wait for a turn.
    :ivar stalled: how many answers still send the rest of a chunk from their last turn.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(TURNS)
        self.waiting = self.stalled = 0

    async def begin(self) -> bool:
        """Wait for a turn for a short time; return whether the turn was granted."""
        if self.stalled >= STALLED:
            return False
        self.waiting += 1
        try:
            async with asyncio.timeout(_TURN_PATIENCE):
                return await self._free.acquire()
        except TimeoutError:
            return False
        finally:
            self.waiting -= 1

    def end(self) -> None:
        """End a turn, so that the next one can begin."""
        self._free.release()


class Socket(Protocol):
    """The methods of a socket that are used."""

    def fileno(self) -> int: ...
    def getsockopt(self, level: int, name: int, /) -> int: ...
    def setsockopt(self, level: int, name: int, value: int, /) -> None: ...


class Writer:
    """Writes one answer's data to its connection.

    :ivar turns: a thread takes one of these turns while it uses this writer.
    :ivar has_written: whether this writer has written a part of the data.
    :ivar is_complete: set it when all data was sent, by this writer or otherwise.
    """

    def __init__(self, sock: Socket, turns: Turns) -> None:
        """Prepare to write.

        :param sock: the connection's socket, in non-blocking mode.  Its owner calls
            `close` before it closes the socket.
        """
        self.turns = turns
        self.has_written = self.is_complete = False
        self._socket = sock
        self._descriptor = sock.fileno()
        # Held while a system call uses the descriptor.  After the socket is closed, the
        # socket of another client may get the same number.
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def ahead(self) -> Iterator[None]:
        """Let the system hold more unsent data for the client during the block."""
        usual = self._hold(_AHEAD)
        try:
            yield
        finally:
            # If the client becomes slow now, it must not take that much memory.
            self._hold(usual)

    def _hold(self, size: int | None) -> int | None:
        """Set how much the system holds; return the former value, or None if it was not changed."""
        with self._lock, contextlib.suppress(OSError):
            if self._descriptor >= 0 and size is not None:
                usual = self._socket.getsockopt(*_HELD)
                self._socket.setsockopt(*_HELD, size)
                return usual
        return None

    def write(self, data: bytes) -> bytes:
        """Write while the client takes the data.  Call this in a thread.

        All data that was passed to the event loop before must have been sent.

        :returns: what the client has not taken, also if it has disconnected.
        """
        left = memoryview(data)
        while left:
            with self._lock:
                if self._descriptor < 0:
                    break
                try:
                    taken = os.write(self._descriptor, left)
                except BlockingIOError:
                    taken = 0
                except OSError:  # the event loop notices the error too
                    break
            self.has_written = self.has_written or taken > 0
            left = left[taken:]
            if left and not self._is_taken():
                break
        return bytes(left)

    def send_file(self, descriptor: int, position: int, count: int) -> int:
        """Let the system send bytes of a file, without a copy of them.  Call this in a thread.

        All data that was passed to the event loop before must have been sent.

        :param descriptor: of the file.
        :param position: the offset of the first byte to send.
        :param count: how many bytes to send at most.
        :returns: how many bytes the client has taken; 0 also if the file cannot be read.
        """
        taken = self._send_file(descriptor, position, count)
        if taken is None and self._is_taken():
            taken = self._send_file(descriptor, position, count)
        self.has_written = self.has_written or bool(taken)
        return taken or 0

    def _send_file(self, descriptor: int, position: int, count: int) -> int | None:
        """Return None if the client takes nothing now."""
        with self._lock:
            if self._descriptor < 0:
                return 0
            try:
                return os.sendfile(self._descriptor, descriptor, position, count)
            except BlockingIOError:
                return None
            except OSError:
                return 0

    def _is_taken(self) -> bool:
        """Wait a short time until the client takes more; return whether it does."""
        poll = select.poll()
        with self._lock:
            if self._descriptor < 0:
                return False
            poll.register(self._descriptor, select.POLLOUT)
        # If another client's socket has got the number, this waits for it, but writes nothing.
        return bool(poll.poll(CLIENT_PATIENCE))

    def close(self) -> None:
        """Stop writing; the descriptor is not used afterwards."""
        with self._lock:
            self._descriptor = -1
