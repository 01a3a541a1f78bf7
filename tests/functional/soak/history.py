# SPDX-License-Identifier: Apache-2.0
"""What was so, and from when to when: by this an answer is judged afterwards."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

# What ended longer ago no request that runs can have seen.
_KEPT_SECONDS = 300


@dataclass(frozen=True)
class Version:
    """Data that an image had once, made from these alone."""

    image_id: str
    number: int
    size: int

    @property
    def data(self) -> bytes:
        return _data(self)

    @property
    def checksum(self) -> str:
        return _digest(self, "md5")

    @property
    def sha512(self) -> str:
        return _digest(self, "sha512")


@lru_cache(maxsize=24)
def _data(version: Version) -> bytes:
    # nginx with SSI loses a "<" at the end of a file.
    return hashlib.shake_128(repr(version).encode()).digest(version.size - 1) + b"."


@lru_cache(maxsize=4096)
def _digest(version: Version, algorithm: str) -> str:
    return hashlib.new(algorithm, _data(version)).hexdigest()


#: A version that could be had; or what else an answer was allowed to be: a
#: status, ``broken``, or ``blurred``, where parts may be of other bytes.
Fact = Version | str

#: That data becomes other data at the same name: a client that asks before and after it
#: may hold bytes of both.
CHANGED = "changed"


@dataclass(eq=False)
class Span:
    """A time in which facts were so; open until it is ended."""

    facts: tuple[Fact, ...]
    since: float
    until: float = float("inf")


class History:
    """The facts of one image, or of one server; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []

    def begin(self, *facts: Fact) -> Span:
        """From now on these are so."""
        span = Span(facts, time.monotonic())
        with self._lock:
            self._spans.append(span)
        return span

    def end(self, span: Span) -> None:
        """From now on they are no longer, where they still were."""
        now = time.monotonic()
        span.until = min(span.until, now)
        with self._lock:
            self._spans = [one for one in self._spans if one.until > now - _KEPT_SECONDS]

    @contextmanager
    def during(self, *facts: Fact) -> Iterator[None]:
        """They are so until the block ends."""
        span = self.begin(*facts)
        try:
            yield
        finally:
            self.end(span)

    def between(self, since: float, until: float) -> frozenset[Fact]:
        """What was so at any time of these."""
        with self._lock:
            seen = [one for one in self._spans if one.since <= until and one.until >= since]
        return frozenset(fact for one in seen for fact in one.facts)
