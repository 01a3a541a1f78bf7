# SPDX-License-Identifier: Apache-2.0
"""Writes to a client's socket in the thread that has just read the data.

An event loop has to wake for each chunk, and copies what the system does not take at
once.  To a client that takes everything, a thread reads and writes in turns of its own.
"""

import asyncio
import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from typing import Protocol

#: The extension of ASGI by which a server hands over a connection's `Writer`.
EXTENSION = "imageapi.writer"

# How many threads write at once: more would only wait for the interpreter's lock.
TURNS = 2

# For how many seconds a turn is waited for: backends that hang may hold them all.
_TURN_PATIENCE = 0.1

# How many answers may wait at once with a large chunk that a client has not taken.
STALLED = 50

# How much the system may hold for a client meanwhile, in bytes: else it would take each
# chunk in pieces.
_HELD = (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
_AHEAD = 2 * 2**20

# In how many milliseconds a client must take more.
CLIENT_PATIENCE = 2


class Turns:
    """Bounds how many threads write at once; it belongs to one event loop.

    :ivar waiting: how many wait for a turn.
    :ivar stalled: how many answers have a chunk left over of their last turn.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(TURNS)
        self.waiting = self.stalled = 0

    async def begin(self) -> bool:
        """Wait for a turn, for a moment; tell whether it has come."""
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

    @property
    def is_taken(self) -> bool:
        """Whether the next one would have to wait."""
        return self._free.locked()

    def end(self) -> None:
        """Leave it to the next one."""
        self._free.release()


class Socket(Protocol):
    """What is asked of a socket."""

    def fileno(self) -> int:
        """The descriptor's number."""

    def getsockopt(self, level: int, name: int, /) -> int:
        """The value of an option."""

    def setsockopt(self, level: int, name: int, value: int, /) -> None:
        """Set an option."""


class Writer:
    """Writes one answer's data to its connection.

    :ivar turns: one of them is taken for as long as this is used.
    :ivar has_written: whether a part of the data has left by this way.
    :ivar is_complete: to be set when all data has left, by this way or another.
    """

    def __init__(self, sock: Socket, turns: Turns) -> None:
        """Prepare to write.

        :param sock: the connection's, which does not block; its owner calls
            `close` before it closes that.
        """
        self.turns = turns
        self.has_written = self.is_complete = False
        self._socket = sock
        self._descriptor = sock.fileno()
        # Held while the system is given the descriptor's number: once the socket is
        # closed, another client's may have the same.
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def ahead(self) -> Iterator[None]:
        """Let the system hold more for the client meanwhile."""
        usual = self._hold(_AHEAD)
        try:
            yield
        finally:
            # A client that is slow from now on is not to cost so much.
            self._hold(usual)

    def _hold(self, size: int | None) -> int | None:
        """Set how much the system holds; return how much it was, None where it has no say."""
        with self._lock, contextlib.suppress(OSError):
            if self._descriptor >= 0 and size is not None:
                usual = self._socket.getsockopt(*_HELD)
                self._socket.setsockopt(*_HELD, size)
                return usual
        return None

    def write(self, data: bytes) -> bytes:
        """Write as long as the client takes it; to be called in a thread.

        What was given to the event loop before must have left.

        :returns: what the client has not taken, also where it has gone.
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
                except OSError:  # the event loop finds out too
                    break
            self.has_written = self.has_written or taken > 0
            left = left[taken:]
            if left and not self._is_taken():
                break
        return bytes(left)

    def _is_taken(self) -> bool:
        """Wait until the client takes more; tell whether it does."""
        poll = select.poll()
        with self._lock:
            if self._descriptor < 0:
                return False
            poll.register(self._descriptor, select.POLLOUT)
        # Should another client's socket have its number by now, it is just waited for.
        return bool(poll.poll(CLIENT_PATIENCE))

    def close(self) -> None:
        """Write nothing any more."""
        with self._lock:
            self._descriptor = -1
