# SPDX-License-Identifier: Apache-2.0
"""The whole story of a request, from top to bottom.

`ImageAPI.respond` looks the image up and checks that this caller may know of it
and may have its data.  Then it evaluates the conditions, opens the data, and
returns a response whose body is the data.  Every decision is made, and the first
chunk is read, before the response exists.
"""

import json
import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIEnvironment

from oslo_config import cfg
from webob import Request, Response, exc

from imageapi import document
from imageapi.caller import Caller, from_environ
from imageapi.config import options, plugins
from imageapi.download.image_view import ImageView, ImageViews
from imageapi.download.observed_end import observe_end
from imageapi.download.opener import DownloadRequest, Opener, log_failure
from imageapi.download.verified_stream import Body
from imageapi.errors import (
    BackendError,
    BadReply,
    ImageNotFound,
    MalformedImage,
    WrongHash,
    unexpected,
)
from imageapi.events.base import EventsBackend
from imageapi.events.observation import Observation, Observers
from imageapi.image import Image, is_image_id
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE
from imageapi.protocol import error_responses
from imageapi.protocol.image_headers import BINARY, HeaderLine, data_headers
from imageapi.protocol.preconditions import Decision, allows_range, evaluate
from imageapi.protocol.ranges import RangeNotSatisfiable, may_continue, parse_range
from imageapi.protocol.routes import asks_for_details, image_id_of, quoted_path
from imageapi.protocol.value_text import header_text
from imageapi.visibility import Visibility

LOG = logging.getLogger(__name__)

#: The work on a response, in steps.  Closing it before its end closes the data.
Steps: TypeAlias = Generator[None, None, Response]

# The policy's target if the answer is that of an absent image.
_NO_IMAGE: Mapping[str, object] = {}


class ImageAPI:
    """Serves images over the Image API v1; it is itself a WSGI application.

    Thread-safe.  The process may fork until the first request.
    """

    _admin_roles: tuple[str, ...]
    _public_endpoint: str

    def __init__(self, conf: cfg.ConfigOpts, *, events: Sequence[EventsBackend] = ()) -> None:
        """Load the backends that the configuration names; do no I/O with them yet.

        :param conf: owned by the caller, which has called it already (``conf([...])``).
        :param events: are told about requests too; the caller closes them.
        :raises imageapi.errors.ConfigurationError: the configuration is invalid; the
            error lists all problems.
        """
        self.backends = plugins.load(conf)
        core = conf[options.GROUP]
        self._admin_roles = tuple(core.admin_roles)
        self._public_endpoint = core.public_endpoint.rstrip("/")
        self._views = ImageViews(self.backends.stores, core.max_property_headers)
        self._opener = Opener(core.verify_checksum, core.resume_attempts, core.unsafe_images)
        self.observers = Observers([*(one.backend for one in self.backends.events), *events])

    def close(self) -> None:
        """Close the backends.  Do not use this object for a request afterwards."""
        self.backends.close()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as a WSGI application (PEP 3333), mounted at any path."""
        return answer_over_wsgi(self.route(Request(environ)), start_response)

    def route(self, request: Request) -> Steps:
        """Answer a request for any path in steps; 404 if the path is not that of an image."""
        environ = request.environ
        image_id = image_id_of(environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""))
        return self.steps(request, image_id)

    def respond(self, request: Request, image_id: str) -> Response:
        """Answer a request for one image.

        :param request: the id is not taken from its path, so the embedding
            application may use any routes.  X-Image-Meta-Uri repeats the path.
        :param image_id: percent-decoded.
        :returns: a response.  The code that iterates over its ``app_iter`` must close
            it, as WSGI servers do.  The iterator raises an exception if the data
            cannot be completed; the connection must then be broken off.
        """
        return _finished(self.steps(request, image_id))

    def steps(self, request: Request, image_id: str | None) -> Steps:
        """Answer a request for one image in steps; each does a bounded amount of work.

        Most responses need one step.  A part that reaches the end of an image that is not
        verified yet needs one step for each chunk that is hashed before the response.

        :param request, image_id: as for `respond`; without an id, the answer is 404.
        :returns: a generator.  It yields between steps, and returns what `respond` returns.
        """
        observation = self.observers.begin(request, image_id)
        try:
            response = yield from self._answered(request, image_id or "", observation)
        except BaseException:
            observation.end_without_response()
            raise
        return observe_end(response, observation)

    def _answered(self, request: Request, image_id: str, observation: Observation) -> Steps:
        try:
            return (yield from self._steps(request, image_id, observation))
        except exc.HTTPException as refusal:
            return error_responses.render(request, refusal)
        except BackendError as error:
            observation.is_wrong = isinstance(error, WrongHash)
            return error_responses.render(request, error_responses.failure(error, image_id))

    def _steps(self, request: Request, image_id: str, observation: Observation) -> Steps:
        if not is_image_id(image_id):
            raise exc.HTTPNotFound()
        method = request.environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            raise error_responses.method_not_allowed()
        wants_details = asks_for_details(request.environ.get("QUERY_STRING", ""))
        wants_data = method == "GET" and not wants_details

        observation.caller = caller = self._caller(request)
        view = self._find(image_id, caller, wants_data)
        if not self._allows(GET_IMAGE, caller, view.target):
            raise error_responses.forbidden(image_id)
        observation.image = view.image

        if wants_details:
            return self._details(request, view.image)
        if self._may_have_data(view, caller, wants_data):
            _raise_for_conditions(request, view.image)
        if wants_data:
            return (yield from self._download(request, view, observation))
        return self._without_data(request, view)

    # Who sends the request, for which image, and is it allowed?

    def _caller(self, request: Request) -> Caller:
        try:
            return from_environ(request.environ, self._admin_roles)
        except BackendError as error:
            LOG.error("%s", error)
            raise

    def _find(self, image_id: str, caller: Caller, wants_data: bool) -> ImageView:
        """Return the image if the caller may know of it.

        Only then its headers and locations are computed: the time that this takes would
        distinguish a hidden image from an absent one.

        :raises exc.HTTPException: otherwise; the same for an absent and a hidden image.
        """
        try:
            image = self._look_up(image_id, caller)
            if image is not None and self._may_know(image, caller):
                return self._views.of(image)
        except BackendError:
            raise
        except Exception as error:
            # A bug of the registry: it raised the error, or made the image with values that
            # no field or property can have.
            foreign = unexpected(self.backends.registry, error)
            LOG.error("image %r: %s", image_id, foreign, exc_info=error)
            raise foreign from None
        actions = (GET_IMAGE, DOWNLOAD_IMAGE) if wants_data else (GET_IMAGE,)
        if all(self._allows(action, caller, _NO_IMAGE) for action in actions):
            raise error_responses.not_found(image_id)
        raise error_responses.forbidden(image_id)

    def _look_up(self, image_id: str, caller: Caller) -> Image | None:
        """Return the registry's image; None if the answer is that of an absent image."""
        registry = self.backends.registry
        try:
            image: object = registry.backend.get(image_id, caller)
            if not isinstance(image, Image):
                kind = type(image).__name__
                raise BackendError(f"get() must return an imageapi.Image, not {kind}")
            if image.id != image_id:
                other = f"{image.id!r:.100}"
                raise MalformedImage(f"get() returned another image, {other}", image.visibility)
            return image
        except ImageNotFound:
            return None
        except BackendError as error:
            log_failure(image_id, registry, error)
            if self._tells_of_a_hidden_image(error, caller):
                return None
            raise

    def _tells_of_a_hidden_image(self, error: BackendError, caller: Caller) -> bool:
        """Whether reporting the error would reveal an image that the caller may not know of."""
        if caller.is_admin or not isinstance(error, MalformedImage | BadReply):
            return False
        if error.visibility is not None:
            return not self._may_know(error.visibility, caller)
        decided = self.backends.registry.backend.decides_visibility
        return isinstance(error, MalformedImage) and not decided

    def _may_know(self, image: Image | Visibility, caller: Caller) -> bool:
        if caller.is_admin:
            return True
        if image.is_deleted:
            return False
        if self.backends.registry.backend.decides_visibility or image.is_public:
            return True
        project = caller.project_id
        return bool(project) and (project == image.owner or project in image.members)

    def _may_have_data(self, view: ImageView, caller: Caller, wants_data: bool) -> bool:
        """Return whether the caller may have the data.

        A HEAD without that permission is still answered, but not with 304 or 412
        (docs/wire.md, Conditional and partial requests).

        :raises exc.HTTPException: a GET of the data without that permission.
        """
        image = view.image
        if not image.is_active:
            if wants_data and image.status == "deactivated" and not image.is_deleted:
                raise error_responses.deactivated(image.id)
            if wants_data:
                raise error_responses.not_active(image.id)
            return False
        may_have_data = self._allows(DOWNLOAD_IMAGE, caller, view.target)
        if wants_data and not may_have_data:
            raise error_responses.forbidden(image.id)
        return may_have_data

    def _allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        policy = self.backends.policy
        try:
            return policy.backend.allows(action, caller, target) is True
        except Exception:
            LOG.exception("%s failed, so %s is refused", policy, action)
            return False

    # The responses without data.

    def _details(self, request: Request, image: Image) -> Response:
        data = json.dumps(document.details(image, self._uri(request, image))).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        return Response(headerlist=headers, app_iter=[] if request.method == "HEAD" else [data])

    def _without_data(self, request: Request, view: ImageView) -> Response:
        image = view.image
        headers = [BINARY]
        if image.is_active:
            headers = data_headers(image, image.size, view.reads_ranges)
        return Response(headerlist=headers + self._meta_lines(request, view), app_iter=[])

    # The responses with data.

    def _download(self, request: Request, view: ImageView, observation: Observation) -> Steps:
        image = view.image
        if image.size == 0:
            self._opener.verify_empty(image)
            return self._without_data(request, view)
        # Before the data is opened, because this may fail.
        meta = self._meta_lines(request, view)
        wanted = _download_request(request, image, observation.caller)
        try:
            body, span, size, location = yield from self._opener.open(wanted, view.locations)
        except RangeNotSatisfiable as error:
            raise error_responses.range_not_satisfiable(image.id, error.size) from None
        observation.store = location.store.name
        ranges = location.store.backend.ranges
        if span is None:
            headers = data_headers(image, size, ranges)
            return Response(headerlist=headers + meta, app_iter=body)
        headers = data_headers(image, span.stop - span.start, ranges)
        headers.append(("Content-Range", f"bytes {span.start}-{span.stop - 1}/{size}"))
        return Response(status="206 Partial Content", headerlist=headers + meta, app_iter=body)

    # The headers of a response.

    def _meta_lines(self, request: Request, view: ImageView) -> list[HeaderLine]:
        uri = header_text(self._uri(request, view.image))
        return [("X-Image-Meta-Uri", uri), *view.headers]

    def _uri(self, request: Request, image: Image) -> str:
        if self._public_endpoint:
            return f"{self._public_endpoint}/v1/images/{quote(image.id)}"  # an id contains no slash
        return f"{request.host_url}{quoted_path(request.environ)}"


def _raise_for_conditions(request: Request, image: Image) -> None:
    environ = request.environ
    decision = evaluate(
        environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH"), image.checksum
    )
    if decision is Decision.NOT_MODIFIED:
        headers = [("Etag", header_text(image.checksum))] if image.checksum else []
        raise exc.HTTPNotModified(headers=headers)
    if decision is Decision.PRECONDITION_FAILED:
        raise error_responses.precondition_failed(image.id)


def _download_request(request: Request, image: Image, caller: Caller) -> DownloadRequest:
    header = request.environ.get("HTTP_RANGE")
    byte_range = parse_range(header)
    if not allows_range(request.environ.get("HTTP_IF_RANGE"), image.checksum):
        byte_range = None
    return DownloadRequest(image, byte_range, may_continue(header), caller)


def _finished(steps: Steps) -> Response:
    """Run the steps one after the other, and return their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            response: Response = end.value
            return response


def answer_over_wsgi(steps: Steps, start_response: StartResponse) -> Iterable[bytes]:
    """Run the steps, and pass the response to a WSGI server; close its data if that fails.

    This replaces WebOb's own method, which searches all headers for a Location.
    """
    response = _finished(steps)
    try:
        start_response(response.status, response.headerlist)
    except BaseException:
        if isinstance(response.app_iter, Body):
            response.app_iter.close()
        raise
    return response.app_iter
