# SPDX-License-Identifier: Apache-2.0
"""Decides whether an answer is allowed, by the facts that were true during the request."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.functional.soak.history import CHANGED, Fact, Version

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Wrong(AssertionError):
    """The answer or file is not allowed."""


@dataclass(frozen=True)
class Asked:
    """A request.

    :ivar start, stop: the requested range; no start for the whole image.
    :ivar tag: the ETag in If-Range, or in If-None-Match if there is no range.
    """

    method: str = "GET"
    start: int | None = None
    stop: int | None = None
    tag: str | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        headers = {"Connection": "close"}
        if self.start is not None:
            last = "" if self.stop is None else self.stop - 1
            headers["Range"] = f"bytes={self.start}-{last}"
        if self.tag is not None:
            name = "If-None-Match" if self.start is None else "If-Range"
            headers[name] = f'"{self.tag}"'
        return headers


@dataclass(frozen=True)
class Received:
    """The answer, as far as a client received it.

    :ivar status: None if the connection ended before a status line.
    :ivar headers: names in lower case.
    :ivar is_complete: whether HTTP calls it complete: by its Content-Length, or by its last chunk.
    :ivar has_left: whether the client closed the connection.
    :ivar since, until: the times when the request began, and when the answer ended.
    """

    status: int | None
    headers: Mapping[str, str]
    body: bytes
    is_complete: bool
    has_left: bool
    since: float
    until: float

    @property
    def size_of_all(self) -> int | None:
        """The size of the whole image, if this is a part of it; otherwise None."""
        match = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", ""))
        return int(match[3]) if self.status == 206 and match else None


Facts = frozenset[Fact]


def judge(asked: Asked, answer: Received, facts: Facts) -> str:
    """Classify an answer.

    :param facts: all facts that were true at any time during the request.
    :returns: the class, such as ``complete``, for the report.
    :raises Wrong: the answer is not allowed.
    """
    if answer.status is None:
        return _ended(answer, facts)
    return _JUDGES.get(answer.status, _refusal)(asked, answer, facts)


def version_of(answer: Received, facts: Facts) -> Version:
    """The version that the headers of an answer name.

    :raises Wrong: that version did not exist then, or the headers contradict each other.
    """
    tag = answer.headers.get("etag", "")
    versions = {fact.checksum: fact for fact in facts if isinstance(fact, Version)}
    _demand(tag in versions, f"the Etag {tag} is of no version that there was")
    version = versions[tag]
    _demand(answer.headers.get("x-image-meta-checksum") == tag, "the checksum is not the Etag")
    size = answer.headers.get("x-image-meta-size", str(version.size))
    _demand(size == str(version.size), "X-Image-Meta-Size is of another version")
    return version


def judge_file(file: bytes, answers: Sequence[Received], facts: Facts) -> str:
    """Classify a file that a client made from several answers and takes for complete.

    If neither record nor data changed meanwhile, the file must be a right version.  If one
    changed, the file may begin with bytes of one version and end with bytes of another.  The
    client sends no If-Range and compares no checksum, so no server can prevent this.

    :param answers: the answers with its bytes, and the 416 that told the client its end.
    :param facts: all facts that were true between the first request and the end of the last answer.
    :raises Wrong: the file is not allowed.
    """
    versions = {fact for fact in facts if isinstance(fact, Version)}
    if any(file == version.data for version in versions):
        return "put together"
    tags = {answer.headers["etag"] for answer in answers if answer.status != 416}
    # A 416 has no ETag, so it can belong to any version.
    says_only_416 = any(answer.status == 416 for answer in answers) and len(versions) > 1
    is_changed = len(tags) > 1 or says_only_416 or CHANGED in facts
    _demand(is_changed, "A WRONG FILE of several answers, though neither record nor data changed")
    return "of two versions"


def _whole(asked: Asked, answer: Received, facts: Facts) -> str:
    if asked.method == "HEAD":
        return _judged_head(answer, facts)
    version = version_of(answer, facts)
    if answer.is_complete:
        _demand(answer.body == version.data, "A COMPLETE WRONG BODY")
        return "complete"
    _demand_bytes(answer, version, 0, facts)
    return _ended(answer, facts)


def _part(asked: Asked, answer: Received, facts: Facts) -> str:
    version = version_of(answer, facts)
    if asked.tag is not None:
        _demand(asked.tag == version.checksum, "If-Range was not heeded")
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if match is None or asked.start is None:
        raise Wrong("no part was asked for, or its Content-Range is none")
    start, stop, size = int(match[1]), int(match[2]) + 1, int(match[3])
    wanted = (asked.start, min(asked.stop or size, size))
    _demand((start, stop) == wanted, "another part than was asked for")
    _demand(answer.headers.get("content-length") == str(stop - start), "another Content-Length")
    if answer.is_complete and (start, stop) == (0, size):
        _demand(answer.body == version.data, "A COMPLETE WRONG BODY, as a part that is all")
    _demand_bytes(answer, version, start, facts)
    return "part" if answer.is_complete else _ended(answer, facts)


def _judged_head(answer: Received, facts: Facts) -> str:
    if "etag" in answer.headers:
        version = version_of(answer, facts)
        length = answer.headers.get("content-length", str(version.size))
        _demand(length == str(version.size), "Content-Length is of another version")
    else:
        _demand("403" in facts, "no Etag, though it was active")
    return "head"


def _not_modified(asked: Asked, answer: Received, facts: Facts) -> str:
    _demand(answer.headers.get("etag") == asked.tag, "304 for another tag")
    tags = [fact.checksum for fact in facts if isinstance(fact, Version)]
    _demand(asked.tag in tags, "304 for a version that was gone")
    return "not modified"


def _unsatisfied(asked: Asked, answer: Received, facts: Facts) -> str:
    sizes = [fact.size for fact in facts if isinstance(fact, Version)]
    is_past = asked.start is not None and any(size <= asked.start for size in sizes)
    _demand(is_past or "blurred" in facts, "416 for a range that there was")
    return "unsatisfied"


def _refusal(asked: Asked, answer: Received, facts: Facts) -> str:
    _demand(b"Traceback" not in answer.body, "a traceback in a body")
    _demand(str(answer.status) in facts, f"the status {answer.status}, for which nothing was done")
    return "refused" if answer.is_complete else _ended(answer, facts)


_JUDGES: Mapping[int, Callable[[Asked, Received, Facts], str]] = {
    200: _whole,
    206: _part,
    304: _not_modified,
    416: _unsatisfied,
}


def _demand_bytes(answer: Received, version: Version, start: int, facts: Facts) -> None:
    """Bytes that are sent unverified must be right, if nothing changed the data."""
    if "blurred" not in facts:
        rest = version.data[start : start + len(answer.body)]
        _demand(answer.body == rest, "bytes of another version")


def _ended(answer: Received, facts: Facts) -> str:
    if answer.has_left:
        return "left"
    _demand("broken" in facts, "broken off, for which nothing was done")
    return "broken off"


def _demand(is_so: bool, text: str) -> None:
    if not is_so:
        raise Wrong(text)
