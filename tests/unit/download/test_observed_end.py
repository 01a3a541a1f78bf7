# SPDX-License-Identifier: Apache-2.0
import pytest
from webob import Request, Response

from imageapi.download.observed_end import observe_end
from imageapi.download.verified_stream import Body
from imageapi.errors import BackendError, BackendUnavailable, WrongHash
from imageapi.events.base import Outcome
from imageapi.events.observation import Observers
from tests.events import Recorder
from tests.unit.download.test_verified_stream import Chunks, body_of, md5


def observe_response(body: Body | list[bytes], status: int = 200) -> Recorder:
    """Observe a response with this body; returns what is told of its end."""
    recorder = Recorder()
    observation = Observers([recorder]).begin(Request.blank("/v1/images/i"), "i")
    response = Response(status=status, app_iter=body)
    assert observe_end(response, observation) is response
    return recorder


def test_response_without_data_is_complete_at_once() -> None:
    recorder = observe_response([b"not ", b"found"], 404)
    event = recorder.only()
    assert (event.status, event.outcome, event.sent) == (404, Outcome.COMPLETE, 9)
    assert not event.sends_data


def test_data_that_was_sent_to_its_end_is_complete() -> None:
    body = body_of(Chunks(b"da", b"ta"), 4, checksum=md5(b"data"))
    recorder = observe_response(body, 206)
    assert b"".join(body) == b"data"
    body.close()
    event = recorder.only()
    assert (event.status, event.outcome, event.sent) == (206, Outcome.COMPLETE, 4)
    assert (event.sends_data, event.is_verified, event.is_wrong) == (True, True, False)


def test_nothing_is_told_before_the_end() -> None:
    body = body_of(Chunks(b"da", b"ta"), 4)
    recorder = observe_response(body)
    next(body)
    assert recorder.events == []
    body.close()
    assert recorder.only().outcome is Outcome.LEFT


def test_client_that_left_before_the_end_of_complete_data() -> None:
    body = body_of(Chunks(b"data"), 4)
    recorder = observe_response(body)
    assert list(body) == [b"data"]
    body.is_left = True
    body.close()
    assert (recorder.only().outcome, recorder.only().sent) == (Outcome.LEFT, 4)


@pytest.mark.parametrize(
    ("data", "error", "is_wrong"),
    [
        (Chunks(b"da", BackendUnavailable("reset")), BackendUnavailable, False),
        (Chunks(b"da", b"tb"), WrongHash, True),
    ],
)
def test_data_that_cannot_be_completed(
    data: Chunks, error: type[BackendError], is_wrong: bool
) -> None:
    body = body_of(data, 4, checksum=md5(b"data"))
    recorder = observe_response(body)
    with pytest.raises(error):
        list(body)
    body.close()
    event = recorder.only()
    assert (event.outcome, event.is_wrong, event.is_verified) == (
        Outcome.BROKEN_OFF,
        is_wrong,
        False,
    )


def test_data_that_was_opened_again() -> None:
    body = body_of(
        Chunks(b"da", BackendUnavailable("reset")),
        4,
        reopen=lambda *_: Chunks(b"ta"),
        resume_attempts=1,
    )
    recorder = observe_response(body)
    assert b"".join(body) == b"data"
    body.close()
    assert (recorder.only().outcome, recorder.only().resumed) == (Outcome.COMPLETE, 1)
