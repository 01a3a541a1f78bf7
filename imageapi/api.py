# SPDX-License-Identifier: Apache-2.0
"""The whole story of a request, from top to bottom.

A request for an image: `ImageAPI.respond` looks the image up and checks that this
caller may know of it and may have its data.  Then it evaluates the conditions,
opens the data, and returns a response whose body is the data.  Every decision is
made, and the first chunk is read, before the response exists.

A request for a list: the registry yields images in the list's order, and those
that this caller may know of are written, until the page is full.
"""

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIEnvironment

from oslo_config import cfg
from webob import Request, Response, exc

from imageapi import document
from imageapi.authorization import Authorization
from imageapi.caller import Caller
from imageapi.config import options, plugins
from imageapi.download.image_view import ImageView, ImageViews
from imageapi.download.observed_end import observe_end
from imageapi.download.opener import Opener
from imageapi.download.requested_data import DownloadRequest
from imageapi.download.verified_stream import Body
from imageapi.errors import BackendError, WrongHash
from imageapi.events.base import EventsBackend
from imageapi.events.observation import Observation, Observers
from imageapi.image import Image, is_image_id
from imageapi.listing.members import members_for
from imageapi.listing.pages import Pages
from imageapi.listing.parameters import Limits
from imageapi.policy.base import DOWNLOAD_IMAGE, GET_IMAGE, GET_IMAGES, GET_MEMBERS, Target
from imageapi.protocol import error_responses
from imageapi.protocol.image_headers import BINARY, HeaderLine, data_headers
from imageapi.protocol.preconditions import Decision, allows_range, evaluate
from imageapi.protocol.ranges import RangeNotSatisfiable, may_continue, parse_range
from imageapi.protocol.routes import (
    Kind,
    Route,
    asks_for_details,
    mount_path,
    quoted_path,
    route_of,
)
from imageapi.protocol.value_text import header_text

#: The work on a response, in steps.  Closing it before its end closes the data.  It yields
#: between steps: a body, if the next step would wait for its data.
Steps: TypeAlias = Generator[Body | None, None, Response]


class ImageAPI:
    """Serves images over the Image API v1; it is itself a WSGI application.

    Thread-safe.  The process may fork until the first request.
    """

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
        self._auth = Authorization(self.backends)
        limits = Limits(core.limit_param_default, core.api_limit_max)
        self._pages = Pages(self._auth, self.backends.registry, limits)
        self._public_endpoint = core.public_endpoint.rstrip("/")
        self._views = ImageViews(self.backends.stores, core.max_property_headers)
        self._opener = Opener(
            core.verify_checksum,
            core.resume_attempts,
            core.unsafe_images,
            self.backends.cache,
        )
        self.observers = Observers([*(one.backend for one in self.backends.events), *events])

    def close(self) -> None:
        """Close the backends.  Do not use this object for a request afterwards."""
        self._opener.close()
        self.backends.close()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer as a WSGI application (PEP 3333), mounted at any path."""
        return answer_over_wsgi(self.route(Request(environ)), start_response)

    def route(self, request: Request) -> Steps:
        """Answer a request for any path in steps; 404 if nothing is there."""
        environ = request.environ
        return self.steps(
            request, route_of(environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", ""))
        )

    def respond(self, request: Request, image_id: str) -> Response:
        """Answer a request for one image.

        :param request: the id is not taken from its path, so the embedding
            application may use any routes.  X-Image-Meta-Uri repeats the path.
        :param image_id: percent-decoded.
        :returns: a response.  The code that iterates over its ``app_iter`` must close
            it, as WSGI servers do.  The iterator raises an exception if the data
            cannot be completed; the connection must then be broken off.
        """
        route = Route(Kind.IMAGE, image_id) if is_image_id(image_id) else None
        return _finished(self.steps(request, route))

    def has(self, route: Route) -> bool:
        """Whether the registry has this kind of resource: not every registry can list."""
        return not route.is_list or self.backends.registry.backend.can_list

    def steps(self, request: Request, route: Route | None) -> Steps:
        """Answer a request in steps; each does a bounded amount of work.

        Most responses need one step.  A part that reaches the end of an image that is not
        verified yet needs one step for each chunk that is hashed before the response.

        :param route: what the request is for; without it, the answer is 404.
        :returns: a generator, which returns the response.
        """
        is_image = route is not None and route.kind is Kind.IMAGE
        observation = self.observers.begin(request, route.name if route and is_image else None)
        try:
            response = yield from self._answered(request, route, observation)
        except BaseException:
            observation.end_without_response()
            raise
        return observe_end(response, observation)

    def _answered(self, request: Request, route: Route | None, observation: Observation) -> Steps:
        try:
            if route is None or not self.has(route):
                raise exc.HTTPNotFound()
            if request.environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                raise error_responses.method_not_allowed()
            if route.kind in (Kind.ROOT, Kind.VERSIONS, Kind.VERSION):
                return self._versions(request, route)
            observation.caller = self._auth.caller(request)
            if route.kind is Kind.IMAGE:
                return (yield from self._image(request, route.name, observation))
            return self._list(request, route, observation.caller)
        except exc.HTTPException as refusal:
            return error_responses.render(request, refusal)
        except BackendError as error:
            observation.is_wrong = isinstance(error, WrongHash)
            if route is None or route.is_list:
                return error_responses.render(request, error_responses.list_failure(error))
            return error_responses.render(request, error_responses.failure(error, route.name))

    # The responses for one image.

    def _image(self, request: Request, image_id: str, observation: Observation) -> Steps:
        method = request.environ["REQUEST_METHOD"]
        wants_details = asks_for_details(request.environ.get("QUERY_STRING", ""))
        wants_data = method == "GET" and not wants_details

        caller = observation.caller
        actions = (GET_IMAGE, DOWNLOAD_IMAGE) if wants_data else (GET_IMAGE,)
        image = self._auth.find(image_id, caller, actions)
        # Only now, because the time that this takes would distinguish a hidden image
        # from an absent one.
        with self._auth.blaming_the_registry(f"image {image_id!r}"):
            view = self._views.of(image, self._auth.reader(caller))
        if not self._auth.allows(GET_IMAGE, caller, view.target):
            raise error_responses.forbidden(image_id)
        observation.image = image = view.image

        if wants_details:
            return _json(request, document.details(image, self._uri(request, image)))
        if self._may_have_data(view, caller, wants_data):
            _raise_for_conditions(request, image)
        if wants_data:
            return (yield from self._download(request, view, observation))
        return self._without_data(request, view)

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
        may_have_data = self._auth.allows(DOWNLOAD_IMAGE, caller, view.target)
        if wants_data and not may_have_data:
            raise error_responses.forbidden(image.id)
        return may_have_data

    def _without_data(self, request: Request, view: ImageView) -> Response:
        image = view.image
        headers = [BINARY]
        if image.is_active:
            headers = data_headers(image, image.size, view.reads_ranges)
        return Response(headerlist=headers + self._meta_lines(request, view), app_iter=[])

    def _download(self, request: Request, view: ImageView, observation: Observation) -> Steps:
        image = view.image
        if image.size == 0:
            self._opener.verify_empty(image)
            return self._without_data(request, view)
        # Before the data is opened, because this may fail.
        meta = self._meta_lines(request, view)
        wanted = _download_request(request, image, observation.caller)
        try:
            body, span, size, location, observation.cache = yield from self._opener.open(
                wanted, view.locations
            )
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

    # The responses for several images, and for the versions of the API.

    def _list(self, request: Request, route: Route, caller: Caller) -> Response:
        if route.kind is Kind.MEMBERS:
            return _json(request, self._members(route.name, caller))
        if not self._auth.allows(GET_IMAGES, caller):
            raise error_responses.forbidden_list()
        if route.kind is Kind.SHARED:
            shared = self._pages.shared_with(route.name, caller)
            return _json(request, document.shared_images(shared))
        images = self._pages.page(request, caller)
        if route.kind is Kind.IMAGES:
            return _json(request, {"images": [document.in_brief(image) for image in images]})
        if asks_for_details(request.environ.get("QUERY_STRING", "")):
            located = ((image, self._uri_in_list(request, image)) for image in images)
            return _json(request, document.details_of_all(located))
        return _json(request, {"images": [document.in_detail(image) for image in images]})

    def _members(self, image_id: str, caller: Caller) -> dict[str, Any]:
        image = self._auth.find(image_id, caller, (GET_IMAGE, GET_MEMBERS))
        target = Target(self._auth.shown(image, caller))
        if not all(self._auth.allows(it, caller, target) for it in (GET_IMAGE, GET_MEMBERS)):
            raise error_responses.forbidden(image_id)
        return document.members(members_for(image, caller))

    def _versions(self, request: Request, route: Route) -> Response:
        status = "300 Multiple Choices" if route.kind is Kind.ROOT else "200 OK"
        return _json(request, document.versions(f"{self._base_url(request)}/v1/"), status)

    # The headers of a response, and the URLs.

    def _meta_lines(self, request: Request, view: ImageView) -> list[HeaderLine]:
        uri = header_text(self._uri(request, view.image))
        return [("X-Image-Meta-Uri", uri), *view.headers]

    def _uri(self, request: Request, image: Image) -> str:
        if self._public_endpoint:
            return self._uri_in_list(request, image)
        return f"{request.host_url}{quoted_path(request.environ)}"

    def _uri_in_list(self, request: Request, image: Image) -> str:
        # An id contains no slash.
        return f"{self._base_url(request)}/v1/images/{quote(image.id)}"

    def _base_url(self, request: Request) -> str:
        """Return the URL at which clients reach the API, without its version."""
        return self._public_endpoint or f"{request.host_url}{mount_path(request.environ)}"


def _json(request: Request, fields: Mapping[str, Any], status: str = "200 OK") -> Response:
    data = json.dumps(fields).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
    body = [] if request.environ["REQUEST_METHOD"] == "HEAD" else [data]
    return Response(status=status, headerlist=headers, app_iter=body)


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
