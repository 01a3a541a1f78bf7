# SPDX-License-Identifier: Apache-2.0
"""Writing to a client's socket in a thread, over real sockets."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imageapi.asgi import socket_writer
from imageapi.asgi.socket_writer import Turns, Writer


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.settimeout(60)
        yield ours, theirs


def test_everything_is_written_that_a_client_takes(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_writer, "CLIENT_PATIENCE", 60_000)
    ours, theirs = pair
    data = os.urandom(4 * 2**20)
    received = bytearray()

    def read() -> None:
        while len(received) < len(data):
            received.extend(theirs.recv(100_000))

    thread = threading.Thread(target=read)
    thread.start()
    writing = Writer(ours, Turns())
    assert writing.write(data) == b""
    thread.join(60)
    assert received == data
    assert writing.has_written


def test_what_a_client_does_not_take_is_left_over(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    data = os.urandom(4 * 2**20)
    writing = Writer(ours, Turns())
    left = writing.write(data)
    assert 0 < len(left) < len(data)
    assert writing.write(left) == left
    received = b""
    while len(received) < len(data) - len(left):
        received += theirs.recv(100_000)
    assert received + left == data


def test_a_client_that_has_gone_is_written_nothing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.close()
    writing = Writer(ours, Turns())
    assert writing.write(b"data") == b"data"
    assert not writing.has_written


def test_another_clients_socket_with_the_same_number_is_written_nothing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    writing = Writer(ours, Turns())
    number = ours.fileno()
    writing.close()
    ours.close()
    left, right = socket.socketpair()
    with left, right:
        if left.fileno() != number:
            os.dup2(left.fileno(), number)
            ours = socket.socket(fileno=number)
        with ours:
            assert writing.write(b"data") == b"data"
            right.setblocking(False)
            with pytest.raises(BlockingIOError):
                right.recv(9)


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[tuple[bytes, int]]:
    """Some data, and the descriptor of a file that has it."""
    data = os.urandom(4 * 2**20)
    (tmp_path / "data").write_bytes(data)
    with (tmp_path / "data").open("rb") as file:
        yield data, file.fileno()


def test_bytes_of_a_file_are_sent(
    pair: tuple[socket.socket, socket.socket], in_file: tuple[bytes, int]
) -> None:
    ours, theirs = pair
    data, descriptor = in_file
    writing = Writer(ours, Turns())
    sent, received = 0, b""
    while sent < 2**20:
        count = writing.send_file(descriptor, 5 + sent, 2**20 - sent)
        assert count > 0
        sent += count
        while len(received) < sent:
            received += theirs.recv(sent - len(received))
    assert received == data[5 : 5 + 2**20]
    assert writing.has_written


def test_no_byte_of_a_file_is_sent_that_a_client_does_not_take(
    pair: tuple[socket.socket, socket.socket], in_file: tuple[bytes, int]
) -> None:
    ours, theirs = pair
    data, descriptor = in_file
    writing = Writer(ours, Turns())
    sent = 0
    while count := writing.send_file(descriptor, sent, len(data) - sent):
        sent += count
    assert 0 < sent < len(data)
    received = b""
    while len(received) < sent:
        received += theirs.recv(100_000)
    assert received == data[:sent]


@pytest.mark.parametrize("what", ["client", "file", "writer"])
def test_no_byte_of_a_file_is_sent_if_something_is_closed(
    pair: tuple[socket.socket, socket.socket], in_file: tuple[bytes, int], what: str
) -> None:
    ours, theirs = pair
    writing = Writer(ours, Turns())
    descriptor = -1 if what == "file" else in_file[1]
    if what == "client":
        theirs.close()
    if what == "writer":
        writing.close()
    assert writing.send_file(descriptor, 0, 9) == 0
    assert not writing.has_written


def test_closing_waits_for_no_client(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    writing = Writer(ours, Turns())
    waits = threading.Event()

    stop = threading.Event()

    def write() -> None:
        left = writing.write(bytes(4 * 2**20))
        while not stop.is_set():
            left = writing.write(left)
            waits.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert waits.wait(60)
        closing = threading.Thread(target=writing.close, daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()
    finally:
        stop.set()
        thread.join(60)


def test_the_system_holds_more_ahead_of_a_client_only_meanwhile() -> None:
    option = (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(*option, 4321)
        with socket.create_connection(server.getsockname()):
            sock, _ = server.accept()
    with sock:
        writing = Writer(sock, Turns())
        with writing.ahead():
            assert sock.getsockopt(*option) > 2**20
        assert sock.getsockopt(*option) == 4321
        with writing.ahead():
            writing.close()
        # From here on the number may belong to another client's socket.
        assert sock.getsockopt(*option) > 2**20
        with writing.ahead():
            pass


def test_no_turn_is_given_while_many_have_large_chunks_left_over() -> None:
    async def take() -> None:
        turns = Turns()
        turns.stalled = socket_writer.STALLED
        assert not await turns.begin()
        turns.stalled -= 1
        assert await turns.begin()

    asyncio.run(take())


def test_turns_are_bounded_and_go_to_who_waits() -> None:
    async def take() -> None:
        turns = Turns()
        for _ in range(socket_writer.TURNS):
            assert await turns.begin()
        assert not await turns.begin()
        waiting = asyncio.ensure_future(turns.begin())
        await asyncio.sleep(0)
        assert turns.waiting == 1
        turns.end()
        assert await waiting
        assert turns.waiting == 0

    asyncio.run(take())
