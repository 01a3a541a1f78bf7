# SPDX-License-Identifier: Apache-2.0
"""The whole story of a request, from top to bottom.

`ImageAPI.respond` looks the image up, asks whether this caller may know of it
and have it, reads the conditions, opens the data, and hands out a response
whose body is the data.  Every decision is taken, and the first chunk is read,
before the response exists.
"""

import json
import logging
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes
from wsgiref.types import StartResponse, WSGIEnvironment

from cachetools import FIFOCache
from oslo_config import cfg
from webob import Request, Response, exc

from imageapi import document, loading, opts
from imageapi.backends.base import Blob, StoreBackend
from imageapi.body import Body, close_blob
from imageapi.caller import Caller, from_environ
from imageapi.checksum import Checksum, Verified, checksum_of
from imageapi.conditions import Refusal, Span, evaluate, select_range
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataMismatch,
    DataNotFound,
    ImageNotFound,
    LocationRefused,
    MalformedImage,
    RangeNotSupported,
    unexpected,
)
from imageapi.headers import HeaderLine, meta_headers
from imageapi.image import Image, is_image_id
from imageapi.places import NoPlace, Place, places_of
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE, Target
from imageapi.routes import image_id_of
from imageapi.text import header_text

LOG = logging.getLogger(__name__)

# Seconds, where an upstream that is out of reach did not say (docs/wire.md).
_RETRY_AFTER = 30

# Of records whose headers are remembered, by a rough count of the bytes they take.
_REMEMBERED_BYTES = 16 * 1024 * 1024

_NO_IMAGE: Mapping[str, object] = {}

_PATH_SAFE = "/~!$&'()*+,;=:@"
_PLAIN_PATH = re.compile(r"[/0-9A-Za-z_.-]*")  # what needs no quoting, as most ids


class _Described(NamedTuple):
    """What an image's record is on the wire and to the policy; made once a record."""

    image: Image
    headers: tuple[HeaderLine, ...]
    target: Mapping[str, object]
    places: Sequence[Place | NoPlace]
    weight: int

    @property
    def reads_ranges(self) -> bool:
        """Whether the store that comes first reads ranges."""
        first = self.places[0]
        return isinstance(first, Place) and first.store.backend.ranges


class _Opened(NamedTuple):
    """Data that is open and whose first chunk is read."""

    body: Body
    span: Span | None
    size: int | None
    store: loading.Loaded[StoreBackend]


class ImageAPI:
    """Serves images over the Image API v1; a WSGI application itself.

    Safe in threads, and, until the first request, before a fork.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Load all that the configuration names; no I/O with it yet.

        :param conf: owned by the caller, and called already (``conf([...])``).
        :raises imageapi.errors.ConfigurationError: all that is wrong with it.
        """
        self.backends = loading.load(conf)
        core = conf[opts.GROUP]
        self._admin_roles: tuple[str, ...] = tuple(core.admin_roles)
        self._public_endpoint: str = core.public_endpoint.rstrip("/")
        self._max_property_headers: int = core.max_property_headers
        self._resume_attempts: int = core.resume_attempts
        self._verify_checksum: str = core.verify_checksum
        self._verified = Verified()
        self._described_lock = threading.Lock()
        self._described: FIFOCache[str, _Described] = FIFOCache(
            _REMEMBERED_BYTES, getsizeof=lambda described: described.weight
        )

    def close(self) -> None:
        """Close the backends.  Answer no request after this."""
        self.backends.close()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as a WSGI application (PEP 3333), mounted at any path."""
        request = Request(environ)
        image_id = image_id_of(environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""))
        if image_id is None:
            response = refuse(request, exc.HTTPNotFound())
        else:
            response = self.respond(request, image_id)
        return start(response, start_response)

    def respond(self, request: Request, image_id: str) -> Response:
        """Answer a request for one image.

        :param request: its path is not read, so that the embedding
            application may route as it likes.
        :param image_id: percent-decoded.
        :returns: a response whose ``app_iter`` must be closed by whoever
            iterates it, as WSGI servers do.  It raises in the middle where the
            data cannot be completed; the connection must then be broken off.
        """
        try:
            return self._respond(request, image_id)
        except exc.HTTPException as refusal:
            return refuse(request, refusal)
        except BackendError as error:
            return refuse(request, _failure(error, image_id))

    def _respond(self, request: Request, image_id: str) -> Response:
        if not is_image_id(image_id):
            raise exc.HTTPNotFound()
        method = request.environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            raise exc.HTTPMethodNotAllowed(headers=[("Allow", "GET, HEAD")])
        wants_details = _wants_details(request)
        wants_data = method == "GET" and not wants_details

        caller = self._caller(request)
        described = self._find(image_id, caller, wants_data)
        image = described.image
        may_have_data = self._authorize(described, caller, wants_data)

        if wants_details:
            return self._details(request, image)
        if may_have_data:
            _raise_for_conditions(request, image)
        if wants_data:
            return self._download(request, described, caller)
        return self._head(request, described)

    # Who asks, for what, and may they?

    def _caller(self, request: Request) -> Caller:
        try:
            return from_environ(request.environ, self._admin_roles)
        except BackendError as error:
            LOG.error("%s", error)
            raise

    def _find(self, image_id: str, caller: Caller, wants_data: bool) -> _Described:
        """The image, if the caller may know of it; absent and unknowable look the same."""
        described = self._look_up(image_id, caller)
        if described is not None and self._may_know(described.image, caller):
            return described
        forbidden = not self._allows(GET_IMAGE, caller, _NO_IMAGE) or (
            wants_data and not self._allows(DOWNLOAD_IMAGE, caller, _NO_IMAGE)
        )
        raise _forbidden(image_id) if forbidden else _not_found(image_id)

    def _look_up(self, image_id: str, caller: Caller) -> _Described | None:
        registry = self.backends.registry
        try:
            image = registry.backend.get(image_id, caller)
            if not isinstance(image, Image) or image.id != image_id:
                raise MalformedImage("the registry answered with something else")
            return self._describe(image)
        except ImageNotFound:
            return None
        except BackendError as error:
            _log_failure(image_id, registry, error)
            raise
        except Exception as error:
            foreign = unexpected(registry, error)
            LOG.error("image %r: %s", image_id, foreign, exc_info=error)
            raise foreign from None

    def _may_know(self, image: Image, caller: Caller) -> bool:
        if caller.is_admin:
            return True
        if image.is_deleted:
            return False
        if self.backends.registry.backend.decides_visibility or image.is_public:
            return True
        project = caller.project_id
        return bool(project) and (project == image.owner or project in image.members)

    def _authorize(self, described: _Described, caller: Caller, wants_data: bool) -> bool:
        """Refuse, or tell whether the caller may have the data.

        That matters to HEAD too, which is answered all the same, but not with
        304 or 412 (docs/wire.md, Conditional and partial requests).
        """
        image = described.image
        if not self._allows(GET_IMAGE, caller, described.target):
            raise _forbidden(image.id)
        if not image.is_active:
            if wants_data and image.status == "deactivated" and not image.is_deleted:
                raise exc.HTTPForbidden(f"Image {image.id} is deactivated.")
            if wants_data:
                raise exc.HTTPNotFound(f"Image {image.id} is not active.")
            return False
        may_have_data = self._allows(DOWNLOAD_IMAGE, caller, described.target)
        if wants_data and not may_have_data:
            raise _forbidden(image.id)
        return may_have_data

    def _allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        policy = self.backends.policy
        try:
            return policy.backend.allows(action, caller, target) is True
        except Exception:
            LOG.exception("%s refuses %s, since it failed", policy, action)
            return False

    # The answers without data.

    def _details(self, request: Request, image: Image) -> Response:
        data = json.dumps(document.details(image, self._uri(request, image))).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        return Response(headerlist=headers, app_iter=[] if request.method == "HEAD" else [data])

    def _head(self, request: Request, described: _Described) -> Response:
        image = described.image
        if image.is_active:
            headers = _data_headers(image, image.size, described.reads_ranges)
        else:
            headers = _data_headers(image, None, False, with_etag=False)
        return Response(headerlist=headers + self._meta_lines(request, described), app_iter=[])

    # The answers with data.

    def _download(self, request: Request, described: _Described, caller: Caller) -> Response:
        image = described.image
        if image.size == 0:
            headers = _data_headers(image, 0, described.reads_ranges)
            return Response(headerlist=headers + self._meta_lines(request, described), app_iter=[])
        # Made before the data is opened, as their making may fail.
        meta = self._meta_lines(request, described)
        opened = self._open(request, described, caller)
        span, size, ranges = opened.span, opened.size, opened.store.backend.ranges
        if span is None:
            headers = _data_headers(image, size, ranges)
            return Response(headerlist=headers + meta, app_iter=opened.body)
        headers = _data_headers(image, span.stop - span.start, ranges)
        headers.append(("Content-Range", f"bytes {span.start}-{span.stop - 1}/{size}"))
        return Response(
            status="206 Partial Content", headerlist=headers + meta, app_iter=opened.body
        )

    def _open(self, request: Request, described: _Described, caller: Caller) -> _Opened:
        """Open the first place that works; when none does, fail as the first did."""
        image = described.image
        first_error: BackendError | None = None
        for place in described.places:
            try:
                if isinstance(place, NoPlace):
                    raise LocationRefused(place.reason)
                return self._open_at(place, request, image, caller)
            except BackendError as error:
                _log_failure(image.id, place, error)
                first_error = first_error or error
        try:
            raise first_error or DataNotFound("no place")
        finally:
            # Its traceback holds this frame: together they would be a cycle.
            del first_error

    def _open_at(self, place: Place, request: Request, image: Image, caller: Caller) -> _Opened:
        """Open a place, as a part or as the whole, and read the first chunk.

        Until there is a Body, which then owns it, the Blob is closed here.
        """
        span = _wanted_span(request, image, place, image.size)
        blob, span = _open_span(place, span, None, caller)
        try:
            if image.size is None and span is None:
                # Only now is it known which bytes a range means.
                span = _wanted_span(request, image, place, blob.total_size)
                if span is not None:
                    close_blob(blob, image.id, place)
                    blob, span = _open_span(place, span, blob.version, caller)
            body = self._body(place, blob, span, image, caller)
        except BaseException:
            close_blob(blob, image.id, place)
            raise
        try:
            body.prime()
        except BaseException:
            body.close()
            raise
        return _Opened(body, span, _size(image, blob), place.store)

    def _body(
        self, place: Place, blob: Blob, span: Span | None, image: Image, caller: Caller
    ) -> Body:
        size = _size(image, blob)
        if blob.total_size != size and blob.total_size is not None:
            raise DataMismatch(
                f"the data is {blob.total_size} bytes, not {size} as its record says"
            )
        start, stop = span or (0, size)
        version = blob.version

        def reopen(received: int) -> Blob:
            return place.open(start + received, stop, version, caller)

        checksum = None
        if start == 0 and stop == size:
            checksum = self._checksum_to_verify(place, version, image)

        def on_verified() -> None:
            if checksum is not None and version is not None:
                self._verified.add(place.store.name, place.location, version, checksum)

        return Body(
            blob,
            image_id=image.id,
            place=place,
            length=None if stop is None else stop - start,
            checksum=checksum,
            on_verified=on_verified,
            reopen=reopen,
            resume_attempts=self._resume_attempts,
        )

    def _checksum_to_verify(
        self, place: Place, version: str | None, image: Image
    ) -> Checksum | None:
        checksum = None if self._verify_checksum == "never" else checksum_of(image)
        if checksum is None or version is None or self._verify_checksum == "always":
            return checksum
        known = self._verified.has(place.store.name, place.location, version, checksum)
        return None if known else checksum

    # What an answer looks like.

    def _describe(self, image: Image) -> _Described:
        try:
            with self._described_lock:
                known = self._described[image.id]
            # Both, since to == True is 1, and to repr() all locations are alike.
            if known.image is image or (known.image == image and repr(known.image) == repr(image)):
                return known
        except KeyError:
            pass
        headers = meta_headers(image, self._max_property_headers)
        for note in headers.notes:
            LOG.warning("image %r: %s", image.id, note)
        places = places_of(image, self.backends.stores)
        weight = 1000 + len(str(headers.lines)) + len(str(image.properties))
        weight += 100 * len(image.members) + 500 * len(image.locations)
        described = _Described(image, headers.lines, Target(image), places, weight)
        if weight <= _REMEMBERED_BYTES:
            with self._described_lock:
                self._described[image.id] = described
        return described

    def _meta_lines(self, request: Request, described: _Described) -> list[HeaderLine]:
        uri = header_text(self._uri(request, described.image))
        return [("X-Image-Meta-Uri", uri), *described.headers]

    def _uri(self, request: Request, image: Image) -> str:
        if self._public_endpoint:
            return f"{self._public_endpoint}/v1/images/{quote(image.id, safe='')}"
        path = request.environ.get("SCRIPT_NAME", "") + request.environ.get("PATH_INFO", "")
        if not _PLAIN_PATH.fullmatch(path):
            path = quote(path.encode("latin-1", "replace"), safe=_PATH_SAFE)
        return f"{request.host_url}{path}"


def _wants_details(request: Request) -> bool:
    """``format=json``, spelt just so, in a query that is UTF-8."""
    query = request.environ.get("QUERY_STRING", "")
    if "format=json" not in query.split("&"):
        return False
    try:
        unquote_to_bytes(query.encode("latin-1")).decode()
    except UnicodeError:
        return False
    return True


def _raise_for_conditions(request: Request, image: Image) -> None:
    environ = request.environ
    refusal = evaluate(
        environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH"), image.checksum
    )
    if refusal is Refusal.NOT_MODIFIED:
        headers = [("Etag", header_text(image.checksum))] if image.checksum else []
        raise exc.HTTPNotModified(headers=headers)
    if refusal is Refusal.PRECONDITION_FAILED:
        raise exc.HTTPPreconditionFailed(f"Image {image.id} is not what If-Match asks for.")


def _wanted_span(request: Request, image: Image, place: Place, size: int | None) -> Span | None:
    """The part that is asked for; None for the whole, also where there is nothing to choose."""
    if size is None or not place.store.backend.ranges:
        return None
    environ = request.environ
    wanted = select_range(
        environ.get("HTTP_RANGE"), environ.get("HTTP_IF_RANGE"), image.checksum, size
    )
    if isinstance(wanted, Refusal):
        raise exc.HTTPRequestRangeNotSatisfiable(
            f"Image {image.id} has {size} bytes.",
            headers=[("Content-Range", f"bytes */{size}")],
        )
    return wanted


def _open_span(
    place: Place, span: Span | None, version: str | None, caller: Caller
) -> tuple[Blob, Span | None]:
    """Open a part where the store's server can, else the whole."""
    if span is not None:
        try:
            return place.open(*span, version, caller), span
        except RangeNotSupported:
            LOG.debug("%s answers a range with the whole", place.store)
    return place.open(0, None, version, caller), None


def _size(image: Image, blob: Blob) -> int | None:
    return blob.total_size if image.size is None else image.size


def _data_headers(
    image: Image, length: int | None, ranges: bool, *, with_etag: bool = True
) -> list[HeaderLine]:
    headers = [("Content-Type", "application/octet-stream")]
    if length is not None:
        headers.append(("Content-Length", str(length)))
    if image.checksum and with_etag:
        headers.append(("Etag", header_text(image.checksum)))
    if ranges:
        headers.append(("Accept-Ranges", "bytes"))
    return headers


def start(response: Response, start_response: StartResponse) -> Iterable[bytes]:
    """Hand an answer to a WSGI server; its data is closed where that fails.

    WebOb's own way out walks all headers in search of a Location.
    """
    try:
        start_response(response.status, response.headerlist)
    except BaseException:
        if isinstance(response.app_iter, Body):
            response.app_iter.close()
        raise
    return response.app_iter


def refuse(request: Request, refusal: exc.HTTPException) -> Response:
    """WebOb's answer, its body written as Accept prefers; to HEAD just its headers."""
    if request.environ["REQUEST_METHOD"] != "HEAD":
        return request.send(refusal)
    response = Request({**request.environ, "REQUEST_METHOD": "GET"}).send(refusal)
    return Response(status=response.status, headerlist=response.headerlist, app_iter=[])


def _not_found(image_id: str) -> exc.HTTPException:
    return exc.HTTPNotFound(f"Image {image_id} was not found.")


def _forbidden(image_id: str) -> exc.HTTPException:
    return exc.HTTPForbidden(f"The policy does not allow this for image {image_id}.")


def _failure(error: BackendError, image_id: str) -> exc.HTTPException:
    """What a client is told of a failure: its kind, and nothing of its text."""
    if isinstance(error, DataNotFound):
        return exc.HTTPNotFound(f"The data of image {image_id} was not found.")
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


def _log_failure(image_id: str, where: object, error: BackendError) -> None:
    """One line for the operator; a traceback only for a backend's own bug."""
    LOG.error("image %r: %s: %s", image_id, where, error, exc_info=error.__cause__)
