# SPDX-License-Identifier: Apache-2.0
"""The clients of the storm notice wrong bytes, and the upstream's bytes are counted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.crowd import ask_at_once
from benchmarks.load import WrongAnswer
from benchmarks.sent_bytes import SentBytes
from benchmarks.servers import Served
from tests.functional.http_client import connection
from tests.functional.waiting import becomes_true

SIZE = 3_000_000
CLIENTS = 5


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "images" / "image"
    path.parent.mkdir()
    path.write_bytes(bytes(range(250)) * (SIZE // 250))
    return path


@pytest.fixture
def data_server(image: Path, tmp_path: Path) -> Iterator[Served]:
    with servers.nginx(image.parent, tmp_path, logs=True) as served:
        yield served


def test_all_clients_receive_the_image(data_server: Served, image: Path, tmp_path: Path) -> None:
    crowd = ask_at_once(data_server.port, "/image", image, CLIENTS, lambda: 7)
    assert len(crowd.ends) == len(crowd.first_bytes) == CLIENTS
    assert all(0 < first <= end for first, end in zip(crowd.first_bytes, crowd.ends, strict=True))
    assert crowd.received[-1] == CLIENTS * SIZE
    assert set(crowd.sampled) == {7}
    log = (tmp_path / "nginx" / "sent.log").read_text()
    assert log.splitlines() == [f"/image {SIZE}"] * CLIENTS


@pytest.mark.parametrize("place", [0, SIZE // 2, SIZE - 1])
def test_a_wrong_byte_is_noticed(
    data_server: Served, image: Path, tmp_path: Path, place: int
) -> None:
    expected = bytearray(image.read_bytes())
    expected[place] ^= 1
    other = tmp_path / "other"
    other.write_bytes(expected)
    with pytest.raises(WrongAnswer):
        ask_at_once(data_server.port, "/image", other, CLIENTS, lambda: 0)


def test_a_shorter_image_is_noticed(data_server: Served, image: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(image.read_bytes()[:-1])
    with pytest.raises(WrongAnswer):
        ask_at_once(data_server.port, "/image", other, CLIENTS, lambda: 0)


def test_sent_bytes_are_those_of_one_port(data_server: Served) -> None:
    sent = SentBytes(data_server.port)
    with connection(data_server.port) as client:
        client.request("GET", "/image")
        assert len(client.getresponse().read()) == SIZE
        # The kernel may acknowledge the last bytes later.
        assert becomes_true(lambda: sent.total() >= SIZE)
        assert sent.total() < SIZE + 1000
        assert SentBytes(data_server.port).total() == 0
    assert SIZE <= sent.total() < SIZE + 1000
