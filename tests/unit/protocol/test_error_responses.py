# SPDX-License-Identifier: Apache-2.0
"""Single rules; tests/contract/test_details_and_errors.py has those of docs/wire.md."""

import pytest
from webob import Request, exc

from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataForbidden,
    DataMismatch,
    DataNotFound,
)
from imageapi.protocol import error_responses


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataNotFound("secret"), 404),
        (DataForbidden("secret"), 403),
        (DataChanged("secret"), 503),
        (BackendUnavailable("secret"), 503),
        (BadReply("secret"), 502),
        (DataMismatch("secret"), 500),
        (BackendError("secret"), 500),
    ],
)
def test_failure_shows_the_kind_and_not_the_text(error: BackendError, status: int) -> None:
    response = error_responses.render(
        Request.blank("/v1/images/i"), error_responses.failure(error, "i")
    )
    assert response.status_code == status
    assert "secret" not in response.text
    assert "i" in response.text


@pytest.mark.parametrize(("asked", "sent"), [(None, "30"), (0, "0"), (7, "7")])
def test_retry_after_is_the_upstream_s(asked: int | None, sent: str) -> None:
    failure = error_responses.failure(BackendUnavailable("down", asked), "i")
    assert failure.wsgi_response.headers["Retry-After"] == sent


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/html", "text/html; charset=UTF-8"),
        ("application/json", "application/json"),
        ("image/png", "text/plain; charset=UTF-8"),
    ],
)
def test_body_has_the_type_that_accept_prefers(accept: str, content_type: str) -> None:
    request = Request.blank("/", headers={"Accept": accept})
    response = error_responses.render(request, error_responses.not_found("<i>"))
    assert response.headers.getall("Content-Type") == [content_type]
    assert int(response.headers["Content-Length"]) == len(response.body)
    assert (b"<i>" in response.body) == (accept != "text/html")


def test_head_has_the_headers_and_no_body() -> None:
    get, head = (
        error_responses.render(Request.blank("/", method=method), error_responses.not_found("i"))
        for method in ("GET", "HEAD")
    )
    assert list(head.app_iter) == []
    assert head.headerlist == get.headerlist


def test_response_without_a_body_stays_empty() -> None:
    refusal = exc.HTTPNotModified(headers=[("Etag", "e")])
    response = error_responses.render(Request.blank("/"), refusal)
    assert (response.status_code, response.headerlist) == (304, [("Etag", "e")])
    assert list(response.app_iter) == []
