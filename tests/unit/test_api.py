# SPDX-License-Identifier: Apache-2.0
"""How the steps of a request are run; tests/contract has what each request gets."""

from pathlib import Path
from typing import Any

import pytest
from webob import Request

from imageapi.api import answer_over_wsgi
from imageapi.config.plugins import Backends
from imageapi.image import Image
from imageapi.protocol.routes import Kind, Route
from tests.memory import Memory

END = {"Range": "bytes=3-"}


@pytest.fixture
def byte_by_byte(tmp_path: Path) -> Memory:
    """Chunks of one byte."""
    memory = Memory(tmp_path)
    memory.store._chunk_size = 1
    memory.put(b"data")
    return memory


def image_request(path: str = "/v1/images/i", **headers: str) -> Request:
    return Request.blank(path, headers=headers)


def steps_of(steps: Any) -> tuple[int, Any]:
    """How many steps there are, and the response."""
    count = 1
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return count, end.value
        count += 1


@pytest.mark.parametrize(("headers", "count"), [({}, 1), (END, 4)])
def test_each_chunk_that_is_hashed_before_the_response_is_a_step(
    byte_by_byte: Memory, headers: dict[str, str], count: int
) -> None:
    taken, response = steps_of(
        byte_by_byte.api.steps(image_request(**headers), Route(Kind.IMAGE, "i"))
    )
    assert taken == count
    assert response.body == (b"a" if headers else b"data")


def test_respond_runs_all_steps(byte_by_byte: Memory) -> None:
    response = byte_by_byte.api.respond(image_request(**END), "i")
    assert (response.status_code, response.body) == (206, b"a")


def test_steps_that_are_closed_close_the_data(byte_by_byte: Memory) -> None:
    steps = byte_by_byte.api.steps(image_request(**END), Route(Kind.IMAGE, "i"))
    next(steps)
    assert byte_by_byte.store.open_blobs == 1
    steps.close()
    assert byte_by_byte.store.open_blobs == 0


@pytest.mark.parametrize(("path", "status"), [("/v1/images/i", 200), ("/images/i", 404)])
def test_route_takes_the_id_from_the_path(byte_by_byte: Memory, path: str, status: int) -> None:
    _, response = steps_of(byte_by_byte.api.route(image_request(path)))
    assert response.status_code == status
    assert (response.body == b"data") == (status == 200)


def test_respond_does_not_take_the_id_from_the_path(byte_by_byte: Memory) -> None:
    assert byte_by_byte.api.respond(image_request("/any"), "i").body == b"data"


def test_data_is_closed_if_the_server_does_not_take_the_response(byte_by_byte: Memory) -> None:
    def start_response(*_: Any) -> Any:
        assert byte_by_byte.store.open_blobs == 1
        raise RuntimeError("the client has left")

    with pytest.raises(RuntimeError, match="the client has left"):
        answer_over_wsgi(byte_by_byte.api.route(image_request()), start_response)
    assert byte_by_byte.store.open_blobs == 0


def test_values_that_no_property_can_have_are_a_bug_of_the_registry(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: Any = object()
    memory.registry.put(Image(id="i", status="active", is_public=True, properties={"a": wrong}))
    assert memory.get().status_code == 500
    (record,) = caplog.records
    assert record.getMessage() == "image 'i': registry 'memory' raised TypeError"
    assert record.exc_info is not None


def test_close_closes_the_backends(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Backends] = []
    monkeypatch.setattr(Backends, "close", lambda backends: closed.append(backends))
    memory.api.close()
    assert closed == [memory.api.backends]
