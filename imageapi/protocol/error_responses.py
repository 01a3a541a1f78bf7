# SPDX-License-Identifier: Apache-2.0
"""The responses to clients when a request fails (docs/wire.md, Errors)."""

import html
import json

from webob import Request, Response, exc
from webob.acceptparse import create_accept_header

from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataForbidden,
    DataNotFound,
    UnsafeImage,
)

# In seconds; used if an unreachable upstream did not send a value.
_RETRY_AFTER = 30

_PAGE = """\
<html>
 <head>
  <title>{status}</title>
 </head>
 <body>
  <h1>{status}</h1>
  {text}
 </body>
</html>"""


def render(request: Request, refusal: exc.HTTPException) -> Response:
    """Return the response, its body in the type that Accept prefers; for HEAD, without a body."""
    answer = refusal.wsgi_response
    if not isinstance(answer, exc.WSGIHTTPException) or answer.empty_body:
        return Response(status=answer.status, headerlist=answer.headerlist, app_iter=[])
    content_type, text = _body(request, answer)
    data = text.encode()
    described = ("Content-Length", "Content-Type")
    headers = [line for line in answer.headerlist if line[0] not in described]
    headers += zip(described, (str(len(data)), content_type), strict=True)
    is_head = request.environ["REQUEST_METHOD"] == "HEAD"
    return Response(status=answer.status, headerlist=headers, app_iter=[] if is_head else [data])


def _body(request: Request, answer: exc.WSGIHTTPException) -> tuple[str, str]:
    """Return the Content-Type and the text of a body, as WebOb would write them.

    WebOb itself searches the text for tags.  The time for that grows with the square
    of the length of what a client sends.
    """
    why, what = answer.explanation, f"{answer.detail or ''}\n\n"
    if answer.code == exc.HTTPMethodNotAllowed.code:
        method = request.environ["REQUEST_METHOD"]
        why, what = f"The method {method} is not allowed for this resource. ", ""
    status = answer.status
    accept = create_accept_header(request.environ.get("HTTP_ACCEPT", ""))
    offers = accept.acceptable_offers(["text/html", "application/json"])
    accepted = offers[0][0] if offers else "text/plain"
    if accepted == "text/html":
        text = f"{_escaped(why)}<br /><br />\n{_escaped(what)}"
        return "text/html; charset=UTF-8", _PAGE.format(status=status, text=text)
    if accepted == "application/json":
        message = f"{why}<br /><br />\n{what}"
        document = {"message": message, "code": status, "title": answer.title}
        return accepted, json.dumps(document)
    what = what.replace("\n", " ")
    return "text/plain; charset=UTF-8", f"{status}\n\n{why}\n\n {what}"


def _escaped(text: str) -> str:
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode()


def not_found(image_id: str) -> exc.HTTPException:
    """The image does not exist, or the caller may not know of it."""
    return exc.HTTPNotFound(f"Image {image_id} was not found.")


def forbidden(image_id: str) -> exc.HTTPException:
    """The policy, or the upstream of a store, refuses the request."""
    return exc.HTTPForbidden(f"The policy does not allow this for image {image_id}.")


def forbidden_list() -> exc.HTTPException:
    """The policy refuses to list images or members."""
    return exc.HTTPForbidden("The policy does not allow this list.")


def deactivated(image_id: str) -> exc.HTTPException:
    """The image is deactivated, so nobody may download its data."""
    return exc.HTTPForbidden(f"Image {image_id} is deactivated.")


def unsafe(image_id: str) -> exc.HTTPException:
    """The data of the image refers to other files, so nobody may download it."""
    return exc.HTTPForbidden(f"Image {image_id} is unsafe: its data may refer to other files.")


def not_active(image_id: str) -> exc.HTTPException:
    """The image has no data to serve yet, or no data any more."""
    return exc.HTTPNotFound(f"Image {image_id} is not active.")


def method_not_allowed() -> exc.HTTPException:
    """The method is neither GET nor HEAD, but everything here can only be read."""
    return exc.HTTPMethodNotAllowed(headers=[("Allow", "GET, HEAD")])


def precondition_failed(image_id: str) -> exc.HTTPException:
    """If-Match does not match the image's Etag."""
    return exc.HTTPPreconditionFailed(f"Image {image_id} does not match If-Match.")


def range_not_satisfiable(image_id: str, size: int) -> exc.HTTPException:
    """The range contains no byte of the image.

    :param size: the size of the image in bytes.
    """
    return exc.HTTPRequestRangeNotSatisfiable(
        f"Image {image_id} has {size} bytes, and the range contains none of them.",
        headers=[("Content-Range", f"bytes */{size}")],
    )


def failure(error: BackendError, image_id: str) -> exc.HTTPException:
    """A backend failed.  The response shows the kind of error, but not its text."""
    if isinstance(error, DataNotFound):
        return exc.HTTPNotFound(f"The data of image {image_id} was not found.")
    if isinstance(error, DataForbidden):
        return forbidden(image_id)
    if isinstance(error, UnsafeImage):
        return unsafe(image_id)
    return _failure(error, f"Image {image_id}")


def list_failure(error: BackendError) -> exc.HTTPException:
    """A registry could not list images.  The response shows the kind of error, but not its text."""
    return _failure(error, "The list of images")


def _failure(error: BackendError, subject: str) -> exc.HTTPException:
    if isinstance(error, BackendUnavailable | DataChanged):
        retry_after = getattr(error, "retry_after", None)
        return exc.HTTPServiceUnavailable(
            f"{subject} is temporarily unavailable. Try again later.",
            headers=[("Retry-After", str(_RETRY_AFTER if retry_after is None else retry_after))],
        )
    if isinstance(error, BadReply):
        return exc.HTTPBadGateway(
            f"{subject} cannot be served: the upstream server returned an invalid response."
        )
    return exc.HTTPInternalServerError(f"{subject} cannot be served. The server's log says why.")
