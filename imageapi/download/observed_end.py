# SPDX-License-Identifier: Apache-2.0
"""The end of a response -> the event that says how it ended."""

from webob import Response

from imageapi.download.verified_stream import Body
from imageapi.errors import WrongHash
from imageapi.events.base import Outcome
from imageapi.events.observation import Observation


def observe_end(response: Response, observation: Observation) -> Response:
    """Let the observation end when the response does; return the response.

    A response without the data of an image counts as complete at once.
    """
    status, body = response.status_int, response.app_iter
    if isinstance(body, Body):
        # The body is no part of the function, or only the garbage collector would free it.
        body.on_closed = lambda body: _end(body, status, observation)
    else:
        observation.end(status, Outcome.COMPLETE, sent=sum(map(len, body)))
    return response


def _end(body: Body, status: int, observation: Observation) -> None:
    outcome = Outcome.COMPLETE if body.is_complete and not body.is_left else Outcome.LEFT
    if body.error is not None:
        outcome = Outcome.BROKEN_OFF
        observation.is_wrong = issubclass(body.error, WrongHash)
    observation.end(
        status,
        outcome,
        sends_data=True,
        sent=body.sent,
        resumed=body.resumed,
        is_verified=body.is_verified,
    )
