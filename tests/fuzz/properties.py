# SPDX-License-Identifier: Apache-2.0
"""Properties that hold for every input. hypothesis checks them in the tests, and atheris too."""

import contextlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import webob

import imageapi
from imageapi import document
from imageapi.backends.file.store import FileStore
from imageapi.backends.http_client.urls import Url, prefix
from imageapi.backends.sql.access import may_get
from imageapi.backends.sql.locations import Encryption
from imageapi.backends.sql.rows import ImageRows
from imageapi.backends.sql.schema import LATER_COLUMNS, Schema
from imageapi.backends.swift.location import SwiftLocation
from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import ConfigurationError, LocationRefused, MalformedImage
from imageapi.image import Image, Location, weight_of
from imageapi.policy.rules import RulesPolicy
from imageapi.protocol.image_headers import meta_headers
from imageapi.protocol.preconditions import allows_range, evaluate
from imageapi.protocol.ranges import RangeNotSatisfiable, may_continue, parse_range
from imageapi.testing.suite import build
from tests.deployment import Deployment
from tests.functional.raw_server import RawServer, Request

MD5 = "9e107d9d372bb6826bd81d3542a419d6"

# Of the table of images.
_COLUMNS = Schema(LATER_COLUMNS).names

# Characters that no header line may have.
_NO_TEXT = re.compile(r"[^\x20-\x7e\xa0-\xff]|[\r\n]")

# C1 control characters are allowed in a value: they can be bytes of UTF-8.
_NO_VALUE = re.compile(r"[\x00-\x1f\x7f]|[^\x00-\xff]")


def conditions(
    if_match: str | None, if_none_match: str | None, if_range: str | None, asked: str | None
) -> None:
    """Conditions and ranges are evaluated, and each range lies within the image."""
    evaluate(if_match, if_none_match, MD5)
    evaluate(if_match, if_none_match, None)
    allows_range(if_range, MD5)
    may_continue(asked)
    byte_range = parse_range(asked)
    for size in (1, 10, 2**70):
        with contextlib.suppress(RangeNotSatisfiable):
            if byte_range is not None:
                span = byte_range.in_data_of(size)
                assert 0 <= span.start < span.stop <= size


def record(data: bytes) -> None:
    """A document is malformed, or it is an image that can be sent and written."""
    try:
        image = document.parse(data, "i")
    except MalformedImage:
        return
    weight_of(image)
    repr(image)
    for name, value in meta_headers(image, 70).lines:
        assert not _NO_TEXT.search(name)
        assert not _NO_VALUE.search(value)
        value.encode("latin-1").decode()
    json.dumps(document.details(image, "")).encode()
    _same(document.parse(json.dumps(document.record(image)).encode(), "i"), image)


def _same(again: Image, image: Image) -> None:
    """After writing and reading, the fields that decide on access are the same."""
    names = ("status", "is_public", "deleted", "members", "size", "os_hash_value", "locations")
    for name in names:
        assert getattr(again, name) == getattr(image, name), name


def database_rows(data: bytes) -> None:
    """The rows of an image in a database are a record, or are refused as malformed.

    :param data: JSON with the rows, by the names of the fields of `ImageRows`.
    """
    try:
        given = json.loads(data)
        found = ImageRows(
            {**dict.fromkeys(_COLUMNS), **dict(given["fields"])},
            [(name, value) for name, value in given["properties"]],
            [(value, metadata, number) for value, metadata, number in given["locations"]],
            list(given["members"]),
        )
        for _, _, number in found.locations:
            int(number)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return  # no database returns such rows
    for key in (None, "k" * 16):
        with contextlib.suppress(MalformedImage):
            for caller in (ANONYMOUS, Caller(project_id="p"), Caller(is_admin=True)):
                may_get(found, caller)
            image = found.image(Encryption(key))
            _same(document.parse(json.dumps(document.record(image)).encode(), image.id), image)


def location(text: str, files: FileStore) -> None:
    """A location is opened below the folder or refused, and its URL has only one meaning."""
    with contextlib.suppress(LocationRefused):
        SwiftLocation.parse(text)
    for read in (Url.parse, prefix):
        with contextlib.suppress(ValueError):
            url = read(text)
            assert Url.parse(str(url)) == url
            assert url.shown.isprintable()
    with contextlib.suppress(ValueError):
        Url.parse("https://host/a/b?c").join(text)
    Location(text).redacted()
    with contextlib.suppress(imageapi.errors.BackendError):
        files.open(Location(text), caller=ANONYMOUS).close()


def configuration(folder: Path, text: str) -> None:
    """A configuration is accepted or refused, with no traceback in the log.

    ``{folder}`` in it stands for a folder with records, data and rules.
    """
    path = folder / "any.conf"
    path.write_text(text.replace("{folder}", str(folder)), encoding="utf-8", errors="replace")
    with _no_bug_is_logged(), contextlib.suppress(ConfigurationError):
        imageapi.ImageAPI(imageapi.load_config([path])).close()


def rules(folder: Path, text: str) -> None:
    """A policy file is accepted or refused, with no traceback in the log.

    `check` refuses rules that nothing uses.
    """
    path = folder / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with _no_bug_is_logged(), contextlib.suppress(ConfigurationError, imageapi.errors.BackendError):
        build(RulesPolicy, policy_file=str(path)).check()


class Site:
    """An application over images of several kinds, in files.

    :ivar healthy: the images that no request may make fail, and the data that
        may be had of each.
    :ivar broken: those whose records, or data, justify a 5xx.
    """

    broken = ("wrong", "short", "outside", "malformed")

    def __init__(self, folder: Path) -> None:
        self.files = Deployment(folder)
        self.files.configure(core="chunk_size = 1000")
        whole = bytes(range(256)) * 12
        self.healthy: Mapping[str, bytes] = {
            "whole": whole,
            "empty": b"",
            "small": b"data",
            "unsized": whole,
            "unhashed": whole,
            "\u00fc b": b"data",
            "described": b"data",
            "elsewhere": b"data",
            "private": b"",
            "deactivated": b"",
            "queued": b"",
        }
        self._add_healthy(whole)
        self._add_broken()
        self.api = self.files.api()

    def _add_healthy(self, whole: bytes) -> None:
        add, odd = self.files.add, {"a\nb": "c", "K": [1, {"x": None}], "k": "\u20ac\x85", "n": 1.5}
        add("whole", whole)
        add("empty", b"")
        add("small", b"data")
        add("unsized", whole, size=None)
        add("unhashed", whole, checksum=None)
        add("\u00fc b", b"data", name="\u00fc\r\nSet-Cookie: x\ud800")
        add("described", b"data", properties=odd)
        add("moved", b"data")
        urls = ["nowhere://x", "file:///etc/passwd", f"file://{self.files.data_path('moved')}"]
        add("elsewhere", b"other", size=4, checksum=None, locations=urls)
        add("private", b"data", is_public=False)
        add("deactivated", b"data", status="deactivated")
        add("queued", b"data", status="queued")

    def _add_broken(self) -> None:
        self.files.add("wrong", b"data" * 1000, checksum=MD5)
        self.files.add("short", b"data", size=5)
        self.files.record("outside", location="file:///etc/passwd", size=4)
        self.files.record_path("malformed").write_text("{")

    def ask(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> None:
        """The answer is one that this request for this image may have.

        :param path: percent-decoded, its bytes decoded as latin-1.
        :param headers: their names as in an environ.
        """
        environ: dict[str, Any] = webob.Request.blank("/").environ
        environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, **headers}
        with _no_bug_is_logged():
            response = webob.Request(environ).send(self.api)
            try:
                body = b"".join(response.app_iter)
            except imageapi.errors.BackendError:
                # A server would break the connection off here.
                body = None
            finally:
                getattr(response.app_iter, "close", lambda: None)()
        image_id = self._id_of(path)
        assert response.status_code < 500 or image_id not in self.healthy
        for name, value in response.headerlist:
            assert not _NO_TEXT.search(name)
            assert not _NO_VALUE.search(value)
        if body is None:
            assert image_id not in self.healthy
        else:
            self._judge(response, body, self.healthy.get(image_id), method)

    def list(self, query: str, *, is_admin: bool) -> None:
        """A list is answered with its document, or with 400, whatever the query is."""
        environ: dict[str, Any] = webob.Request.blank("/v1/images/detail").environ
        environ["QUERY_STRING"] = query
        environ["imageapi.caller"] = Caller(is_admin=is_admin, project_id="p")
        with _no_bug_is_logged():
            response = webob.Request(environ).send(self.api)
        if response.status_code == 400:
            assert b"Traceback" not in response.body
            return
        assert response.status_code == 200
        listed = [image["id"] for image in response.json["images"]]
        assert len(set(listed)) == len(listed) <= 25 or "limit" in query
        assert "malformed" not in listed
        assert is_admin or "private" not in listed

    def _id_of(self, path: str) -> str:
        return path.rpartition("/")[2].encode("latin-1").decode(errors="replace")

    def _judge(
        self, response: webob.Response, body: bytes, data: bytes | None, method: str
    ) -> None:
        kind = response.headers.get("Content-Type", "")
        is_data = response.status_code in (200, 206) and kind == "application/octet-stream"
        if method == "HEAD":
            assert body == b""
        elif not is_data:
            assert b"Traceback" not in body
            assert str(self.files.folder).encode() not in body
        elif response.status_code == 206:
            start, stop, size = map(int, re.findall("[0-9]+", response.headers["Content-Range"]))
            assert data is not None
            assert (body, size) == (data[start : stop + 1], len(data))
        else:
            assert data is None or body == data
        length = response.headers.get("Content-Length")
        if method != "HEAD" and length is not None:
            assert int(length) == len(body)


# Of each kind of application whose servers send any bytes: the path of its endpoint, its store and
# the options of that.
_UPSTREAMS = {
    "http": (
        "/records",
        "http",
        "allowed_urls = {url}/data\nurl_template = {url}/data/{{image_id}}\n",
    ),
    "s3": (
        "/records",
        "s3",
        "endpoint_url = {url}\nbucket = data\naccess_key = a\nsecret_key = b\n",
    ),
    "v1 lists": ("/records/v1/images", "http", ""),
    "v2 lists": ("/records/v2/images", "http", ""),
}


class Upstreams:
    """An application with an HTTP registry and a store, whose server sends any bytes."""

    def __init__(self, folder: Path, kind: str = "http") -> None:
        self._says = {"/records": b"", "/data": b""}
        self._server = RawServer(self._answer)
        path = folder / f"upstreams-{kind}.conf"
        endpoint, store, options = _UPSTREAMS[kind]
        path.write_text(f"""\
[imageapi]
registry = http
stores = {store}
policy = visible
resume_attempts = 1
[imageapi_registry_http]
endpoint = {self._server.url}{endpoint}
read_timeout = 0.5
[imageapi_store_{store}]
read_timeout = 0.5
{options.format(url=self._server.url)}
""")
        self._api = imageapi.ImageAPI(imageapi.load_config([path]))
        self._server.__enter__()

    def close(self) -> None:
        self._api.close()
        self._server.__exit__()

    def _answer(self, request: Request, connection: Any) -> bool:
        connection.sendall(self._says["/" + request.target.split("/")[1]])
        return False

    def say(self, registry: bytes, store: bytes, path: str = "/v1/images/i") -> None:
        """Whatever the two answers are, no bug is logged, and the response is valid."""
        self._says.update({"/records": registry, "/data": store})
        with _no_bug_is_logged():
            response = webob.Request.blank(path).send(self._api)
            try:
                with contextlib.suppress(imageapi.errors.BackendError):
                    b"".join(response.app_iter)
            finally:
                getattr(response.app_iter, "close", lambda: None)()
        assert response.status_code in (200, 403, 404, 500, 502, 503)
        # A record can contradict its data. http.client accepts other versions of HTTP too.
        assert response.status_code != 500 or re.match(rb"HTTP/\S* 200", registry)
        for name, value in response.headerlist:
            assert not _NO_TEXT.search(name)
            assert not _NO_VALUE.search(value)


class _Bugs(logging.Handler):
    """Keeps the log records with a traceback: only bugs have one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = logging.Formatter().format(record)
        if record.exc_info and record.exc_info[0] is not None:
            self.found.append(text)


@contextlib.contextmanager
def _no_bug_is_logged() -> Iterator[None]:
    bugs = _Bugs()
    logger = logging.getLogger("imageapi")
    logger.addHandler(bugs)
    try:
        yield
    finally:
        logger.removeHandler(bugs)
    assert not bugs.found, "".join(bugs.found)
