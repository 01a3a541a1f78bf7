# SPDX-License-Identifier: Apache-2.0
"""What a client is told when it does not get what it asked for (docs/wire.md, Errors)."""

from webob import Request, Response, exc

from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataForbidden,
    DataNotFound,
)

# Seconds, where an upstream that is out of reach did not say.
_RETRY_AFTER = 30


def refuse(request: Request, refusal: exc.HTTPException) -> Response:
    """WebOb's answer, its body written as Accept prefers; to HEAD just its headers."""
    if request.environ["REQUEST_METHOD"] != "HEAD":
        return request.send(refusal)
    response = Request({**request.environ, "REQUEST_METHOD": "GET"}).send(refusal)
    return Response(status=response.status, headerlist=response.headerlist, app_iter=[])


def not_found(image_id: str) -> exc.HTTPException:
    """There is no such image, or none that the caller may know of."""
    return exc.HTTPNotFound(f"Image {image_id} was not found.")


def forbidden(image_id: str) -> exc.HTTPException:
    """The policy refuses."""
    return exc.HTTPForbidden(f"The policy does not allow this for image {image_id}.")


def deactivated(image_id: str) -> exc.HTTPException:
    """The image's data is withheld from everybody."""
    return exc.HTTPForbidden(f"Image {image_id} is deactivated.")


def not_active(image_id: str) -> exc.HTTPException:
    """The image has no data to serve: not yet, or no longer."""
    return exc.HTTPNotFound(f"Image {image_id} is not active.")


def method_not_allowed() -> exc.HTTPException:
    """An image can only be read."""
    return exc.HTTPMethodNotAllowed(headers=[("Allow", "GET, HEAD")])


def precondition_failed(image_id: str) -> exc.HTTPException:
    """If-Match names other bytes."""
    return exc.HTTPPreconditionFailed(f"Image {image_id} is not what If-Match asks for.")


def range_not_satisfiable(image_id: str, size: int) -> exc.HTTPException:
    """The range has no byte of the image.

    :param size: of the image, in bytes.
    """
    return exc.HTTPRequestRangeNotSatisfiable(
        f"Image {image_id} has {size} bytes.",
        headers=[("Content-Range", f"bytes */{size}")],
    )


def failure(error: BackendError, image_id: str) -> exc.HTTPException:
    """A backend failed: the kind of it, and nothing of the error's text."""
    if isinstance(error, DataNotFound):
        return exc.HTTPNotFound(f"The data of image {image_id} was not found.")
    if isinstance(error, DataForbidden):
        return forbidden(image_id)
    if isinstance(error, BackendUnavailable | DataChanged):
        retry_after = getattr(error, "retry_after", None)
        return exc.HTTPServiceUnavailable(
            f"Image {image_id} is out of reach for now.",
            headers=[("Retry-After", str(_RETRY_AFTER if retry_after is None else retry_after))],
        )
    if isinstance(error, BadReply):
        return exc.HTTPBadGateway(f"Image {image_id} lies behind a server that answers badly.")
    return exc.HTTPInternalServerError(
        f"Image {image_id} cannot be served. The server's log says why."
    )
