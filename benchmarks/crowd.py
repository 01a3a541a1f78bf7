# SPDX-License-Identifier: Apache-2.0
"""Many clients that ask for one image at once, in two processes with many sockets each.

The clients of a fleet are on other machines, so what they do with the bytes must not take the
server's processors.  The kernel discards what most clients receive, and counts it.  The first
client of each process compares all its bytes with the image.
"""

import argparse
import itertools
import json
import mmap
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.load import WrongAnswer, checked_length

#: Seconds between two samples.
TICK = 0.05

_PROCESSES = 2
_HOST = "127.0.0.1"
_PATIENCE = 300.0
_BUFFER_SIZE = 1024 * 1024
_BLANK_LINE = b"\r\n\r\n"
_ROOT = Path(__file__).parents[1]


class Crowd(NamedTuple):
    """What the clients received, in seconds since they asked.

    :ivar first_bytes: when each got the first byte of the body.
    :ivar ends: when each had all bytes.
    :ivar received: bytes that all have received, one number each `TICK`.
    :ivar sampled: what was sampled in the same ticks.
    """

    first_bytes: Sequence[float]
    ends: Sequence[float]
    received: Sequence[int]
    sampled: Sequence[int]


def ask_at_once(port: int, path: str, data: Path, count: int, sample: Callable[[], int]) -> Crowd:
    """Connect all clients, then let all of them ask at the same time.

    :param data: the file with the bytes that each must receive.
    :param count: of the clients.
    :param sample: is called each `TICK`, until the last client ends.
    :raises WrongAnswer: a client got something else.
    """
    with ExitStack() as stack:
        processes = [
            stack.enter_context(_clients(port, path, data, share)) for share in _shares(count)
        ]
        for process in processes:
            _line(process)  # all its clients are connected
        start = time.monotonic() + TICK
        for process in processes:
            _tell(process, start)
        sampled = list(_samples(processes, start, sample))
        results = [json.loads(_line(process)) for process in processes]
    return Crowd(
        [moment for result in results for moment in result["first_bytes"]],
        [moment for result in results for moment in result["ends"]],
        _added([result["received"] for result in results]),
        sampled,
    )


def _shares(count: int) -> Iterator[int]:
    shares = (len(range(number, count, _PROCESSES)) for number in range(_PROCESSES))
    return (share for share in shares if share)


def _clients(port: int, path: str, data: Path, count: int) -> "subprocess.Popen[str]":
    arguments = [str(port), path, str(data), str(count)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crowd", *arguments],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: "subprocess.Popen[str]") -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise WrongAnswer("the clients ended early: they say above why")
    return line


def _tell(process: "subprocess.Popen[str]", start: float) -> None:
    if process.stdin:
        process.stdin.write(f"{start}\n")
        process.stdin.flush()


def _samples(
    processes: Sequence["subprocess.Popen[str]"], start: float, sample: Callable[[], int]
) -> Iterator[int]:
    """Sample until all clients have written their results."""
    with selectors.DefaultSelector() as selector:
        for process in processes:
            if process.stdout:
                selector.register(process.stdout, selectors.EVENT_READ)
        for number in itertools.count():
            time.sleep(max(0.0, start + number * TICK - time.monotonic()))
            yield sample()
            if len(selector.select(0)) == len(processes):
                return


def _added(parts: Sequence[Sequence[int]]) -> Sequence[int]:
    """The sums of samples; a process that ended first keeps its last number."""
    length = max(map(len, parts))
    padded = [[*part, *[part[-1]] * (length - len(part))] for part in parts]
    return [sum(numbers) for numbers in zip(*padded, strict=True)]


class _Client:
    """One download that is discarded, or compared."""

    def __init__(self, port: int, path: str, data: mmap.mmap, *, compares: bool) -> None:
        self.sock = socket.create_connection((_HOST, port), _PATIENCE)
        self.first_byte = self.end = 0.0
        self._request = f"GET {path} HTTP/1.1\r\nHost: {_HOST}\r\n\r\n".encode()
        self._data = data
        self._compares = compares
        self._head: bytes | None = b""
        self._received = 0

    def close(self) -> None:
        self.sock.close()

    def ask(self) -> None:
        self.sock.sendall(self._request)
        self.sock.setblocking(False)

    def hear(self, buffer: bytearray) -> int:
        """Receive what is there; how many bytes of the body it was."""
        head = self._head
        count = self._hear_body(buffer) if head is None else self._hear_head(head)
        if count and not self.first_byte:
            self.first_byte = time.monotonic()
        self._received += count
        if self._received > len(self._data):
            raise WrongAnswer(f"{self._received} bytes came of {len(self._data)}")
        if self._received == len(self._data):
            self.end = time.monotonic()
        return count

    def _hear_body(self, buffer: bytearray) -> int:
        if self._compares:
            count = self.sock.recv_into(buffer)
            self._compare(memoryview(buffer)[:count])
        else:
            count = self.sock.recv_into(buffer, 0, socket.MSG_TRUNC)
        if not count:
            raise WrongAnswer(f"a connection was closed after {self._received} bytes")
        return count

    def _compare(self, received: memoryview) -> None:
        stop = self._received + len(received)
        with memoryview(self._data) as expected, expected[self._received : stop] as part:
            if received != part:
                raise WrongAnswer(f"the bytes before {stop} are wrong")

    def _hear_head(self, before: bytes) -> int:
        """Receive headers; how many bytes of the body came with them."""
        data = self.sock.recv(4096)
        if not data:
            raise WrongAnswer("a connection was closed without an answer")
        answer = before + data
        end = answer.find(_BLANK_LINE)
        if end < 0:
            self._head = answer
            return 0
        self._head = None
        # Glance tells no length while it fills its cache.
        if b"\r\ncontent-length:" in answer[:end].lower():
            checked_length(answer, len(self._data))
        body = memoryview(answer)[end + len(_BLANK_LINE) :]
        self._compare(body)
        return len(body)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Download at once, and print when what came.")
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("data", type=Path)
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        file = stack.enter_context(options.data.open("rb"))
        data = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        clients: list[_Client] = []
        for number in range(options.count):
            client = _Client(options.port, options.path, data, compares=number == 0)
            clients.append(stack.enter_context(closing(client)))
            selector.register(client.sock, selectors.EVENT_READ, client)
        print("connected", flush=True)
        start = float(sys.stdin.readline())
        time.sleep(max(0.0, start - time.monotonic()))
        print(json.dumps(_converse(clients, selector, start)), flush=True)


def _converse(
    clients: Sequence[_Client], selector: selectors.BaseSelector, start: float
) -> dict[str, Any]:
    """Ask, and receive until all have ended."""
    for client in clients:
        client.ask()
    buffer, total, missing = bytearray(_BUFFER_SIZE), 0, len(clients)
    received: list[int] = []
    while missing:
        ready = selector.select(_PATIENCE)
        if not ready:
            raise WrongAnswer(f"nothing came for {_PATIENCE:.0f} s")
        for key, _ in ready:
            ready_one: _Client = key.data
            total += ready_one.hear(buffer)
            if ready_one.end:
                selector.unregister(ready_one.sock)
                missing -= 1
        late = int((time.monotonic() - start) / TICK) + 1 - len(received)
        received += [total] * late
    return {
        "first_bytes": [client.first_byte - start for client in clients],
        "ends": [client.end - start for client in clients],
        "received": [*received, total],
    }


if __name__ == "__main__":
    _main()
