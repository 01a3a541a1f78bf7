# SPDX-License-Identifier: Apache-2.0
"""What events backends are told (imageapi.events.base)."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import webob

from imageapi.asgi.application import _Door
from imageapi.errors import BackendError, BackendUnavailable
from imageapi.events.base import Outcome, RequestEnded
from imageapi.protocol.routes import Kind, Route
from tests.asgi import ASGIClient, ask_asgi, scope_of
from tests.deployment import close
from tests.events import Recorder
from tests.memory import MEMBER, OTHER, Memory

DATA = bytes(range(256)) * 40
CHUNK = 1000


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def observed(tmp_path: Path, recorder: Recorder) -> Memory:
    memory = Memory(tmp_path, events=[recorder], chunk_size=CHUNK)
    memory.put(DATA)
    return memory


def facts(event: RequestEnded) -> tuple[Any, ...]:
    return event.status, event.outcome, event.sends_data, event.sent, event.is_verified


@pytest.mark.parametrize("door", ["WSGI", "ASGI"])
def test_download(observed: Memory, recorder: Recorder, door: str) -> None:
    for is_verified in (True, False):  # the version is verified once
        if door == "WSGI":
            observed.get(caller=MEMBER)
        else:
            ask_asgi(_Door(observed.api, 1), **{"imageapi.caller": MEMBER})
        event = recorder.events.pop()
        assert facts(event) == (200, Outcome.COMPLETE, True, len(DATA), is_verified)
        assert (event.method, event.path, event.image_id) == ("GET", "/v1/images/i", "i")
        assert event.image is observed.api.backends.registry.backend.get("i", MEMBER)
        assert (event.caller, event.store) == (MEMBER, "memory")
        assert (event.resumed, event.is_wrong) == (0, False)
        assert event.seconds >= 0
        assert event.request_id.startswith("req-")
    assert recorder.began == 2
    assert recorder.events == []


@pytest.mark.parametrize(
    ("path", "given", "status", "has_image", "sent"),
    [
        ("/v1/images/i", {"method": "HEAD"}, 200, True, 0),
        ("/v1/images/i?format=json", {}, 200, True, None),
        ("/v1/images/i", {"If_None_Match": "*"}, 304, True, 0),
        ("/v1/images/i", {"method": "PUT"}, 405, False, None),
        ("/v1/images/absent", {}, 404, False, None),
        ("/v1/images/private", {"caller": OTHER}, 404, False, None),
        ("/v1/elsewhere", {}, 404, False, None),
    ],
)
def test_response_without_data(
    observed: Memory,
    recorder: Recorder,
    path: str,
    given: Any,
    status: int,
    has_image: bool,
    sent: int | None,
) -> None:
    observed.put(b"x", id="private", is_public=False, owner="p1")
    response = observed.request(path, **given)
    length = len(b"".join(response.app_iter))
    close(response)
    event = recorder.only()
    expected = length if sent is None else sent
    assert facts(event) == (status, Outcome.COMPLETE, False, expected, False)
    assert (event.image is not None) == has_image
    assert event.store is None


def test_part(observed: Memory, recorder: Recorder) -> None:
    observed.get(Range="bytes=10-19")
    assert facts(recorder.only()) == (206, Outcome.COMPLETE, True, 10, False)


def test_data_that_breaks_off_and_is_resumed(observed: Memory, recorder: Recorder) -> None:
    observed.store.fail(BackendUnavailable("gone"), at=3000, times=2)
    observed.get()
    event = recorder.only()
    assert facts(event) == (200, Outcome.COMPLETE, True, len(DATA), True)
    assert event.resumed == 2


@pytest.mark.parametrize("door", ["WSGI", "ASGI"])
def test_wrong_data_is_broken_off(observed: Memory, recorder: Recorder, door: str) -> None:
    observed.store.give(b"?", at=5000)
    if door == "WSGI":
        with pytest.raises(BackendError):
            observed.get()
    else:
        with pytest.raises(BackendError):
            ask_asgi(_Door(observed.api, 1))
    event = recorder.only()
    assert (event.status, event.outcome, event.is_wrong) == (200, Outcome.BROKEN_OFF, True)
    assert 0 < event.sent < len(DATA)
    assert not event.is_verified


def test_wrong_data_that_is_found_before_the_response(observed: Memory, recorder: Recorder) -> None:
    observed.put(b"right")
    observed.store.put("i", b"wrong")
    observed.get()
    event = recorder.only()
    assert (event.status, event.outcome) == (500, Outcome.COMPLETE)
    assert event.is_wrong
    assert not event.sends_data


def test_client_that_leaves_over_wsgi(observed: Memory, recorder: Recorder) -> None:
    response = observed.request()
    next(iter(response.app_iter))
    assert recorder.events == []
    close(response)
    close(response)
    assert facts(recorder.only()) == (200, Outcome.LEFT, True, CHUNK, False)


def leave_during(observed: Memory, message: int) -> None:
    """Leave while the application sends its message of this number."""

    async def exchange() -> None:
        client = ASGIClient()

        async def send(sent: Any) -> None:
            await client.send(sent)
            if len(client.sent) == message:
                client.leave()
                await asyncio.sleep(60)

        application = _Door(observed.api, 1)
        await application(scope_of(), client.receive, send)
        await asyncio.to_thread(application._pool.close)

    asyncio.run(exchange())


@pytest.mark.parametrize("message", [1, 2, 12])
def test_client_that_leaves_over_asgi(observed: Memory, recorder: Recorder, message: int) -> None:
    """The last message has the last chunk: a client that leaves then does not have it."""
    leave_during(observed, message)
    event = recorder.only()
    assert (event.status, event.outcome) == (200, Outcome.LEFT)
    assert observed.store.open_blobs == 0


def test_client_that_leaves_before_the_response(observed: Memory, recorder: Recorder) -> None:
    """A part that reaches the end is hashed from the first byte, in steps."""
    request = webob.Request.blank("/v1/images/i", headers={"Range": "bytes=10000-"})
    steps = observed.api.steps(request, Route(Kind.IMAGE, "i"))
    next(steps)
    steps.close()
    assert facts(recorder.only()) == (None, Outcome.LEFT, False, 0, False)


@pytest.mark.parametrize("end", ["complete", "left", "broken off", "404"])
def test_exception_of_an_events_backend_harms_no_response(
    observed: Memory, recorder: Recorder, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.fails = True
    if end == "complete":
        assert observed.get().body == DATA
    elif end == "404":
        assert observed.get("/v1/images/absent").status_int == 404
    elif end == "left":
        close(observed.request())
    else:
        observed.store.give(b"?", at=5000)
        with pytest.raises(BackendError, match="md5"):
            observed.get()
    assert len(recorder.events) == 1
    failures = [one for one in caplog.records if "events backend failed" in one.getMessage()]
    assert [one.levelno for one in failures] == [logging.ERROR]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("req-client-1", "req-client-1"),
        ("two words", None),
        ("a" * 81, None),
        ("line\nline", None),
    ],
)
def test_request_id_of_the_client(
    observed: Memory, recorder: Recorder, given: str, expected: str | None
) -> None:
    request = webob.Request.blank("/v1/images/absent")
    request.environ["HTTP_X_OPENSTACK_REQUEST_ID"] = given
    request.send(observed.api)
    found = recorder.only().request_id
    assert found == expected if expected else found.startswith("req-")
    assert "\n" not in found


def test_request_id_of_oslo_middleware_wins(observed: Memory, recorder: Recorder) -> None:
    request = webob.Request.blank("/v1/images/absent")
    request.environ["openstack.request_id"] = "req-1"
    request.environ["HTTP_X_OPENSTACK_REQUEST_ID"] = "req-2"
    request.send(observed.api)
    assert recorder.only().request_id == "req-1"


def test_load_is_told_while_the_application_lives(
    observed: Memory, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Door, "load_seconds", 0.001)

    async def live() -> None:
        stop = asyncio.Event()
        messages = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> Any:
            message = next(messages)
            if message == "lifespan.shutdown":
                await stop.wait()
            return {"type": message}

        async def send(_: Any) -> None:
            pass

        application = _Door(observed.api, 1)
        living = asyncio.ensure_future(application({"type": "lifespan"}, receive, send))
        while not recorder.loads:
            await asyncio.sleep(0.001)
        stop.set()
        await living

    asyncio.run(asyncio.wait_for(live(), 60))
    assert (recorder.loads[0].busy, recorder.loads[0].waiting) == (0, 0)
