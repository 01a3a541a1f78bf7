# SPDX-License-Identifier: Apache-2.0
"""Records which facts were true at which time. An answer is judged by them afterwards."""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

# Seconds; no running request began before a fact that ended longer ago.
_KEPT_SECONDS = 300


@dataclass(frozen=True)
class Version:
    """One version of the data of an image. Its bytes depend only on these fields."""

    image_id: str
    number: int
    size: int

    @property
    def data(self) -> bytes:
        return _data_of(self)

    @property
    def checksum(self) -> str:
        return _digest(self, "md5")

    @property
    def sha512(self) -> str:
        return _digest(self, "sha512")


@lru_cache(maxsize=24)
def _data_of(version: Version) -> bytes:
    # nginx with SSI drops a "<" at the end of a file.
    return hashlib.shake_128(repr(version).encode()).digest(version.size - 1) + b"."


@lru_cache(maxsize=4096)
def _digest(version: Version, algorithm: str) -> str:
    return hashlib.new(algorithm, _data_of(version)).hexdigest()


#: A version that could be downloaded, or something else that an answer was allowed to be:
#: a status, ``broken`` for an answer that is broken off, or ``blurred``. Under ``blurred``
#: a part may have bytes of other data.
Fact = Version | str

#: Data is replaced under the same name. A client that asks before and after it can hold
#: bytes of both.
CHANGED = "changed"


@dataclass(eq=False)
class Span:
    """A time during which facts were true; it lasts until `History.end`."""

    facts: tuple[Fact, ...]
    since: float
    until: float = float("inf")


class History:
    """The facts about one image or one server; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []

    def begin(self, *facts: Fact) -> Span:
        """From now on these facts are true."""
        span = Span(facts, time.monotonic())
        with self._lock:
            self._spans.append(span)
        return span

    def end(self, span: Span) -> None:
        """From now on the facts of this span are no longer true."""
        now = time.monotonic()
        span.until = min(span.until, now)
        with self._lock:
            self._spans = [one for one in self._spans if one.until > now - _KEPT_SECONDS]

    @contextmanager
    def during(self, *facts: Fact) -> Iterator[None]:
        """These facts are true until the block ends."""
        span = self.begin(*facts)
        try:
            yield
        finally:
            self.end(span)

    def between(self, since: float, until: float) -> frozenset[Fact]:
        """The facts that were true at any time from ``since`` to ``until``."""
        with self._lock:
            seen = [one for one in self._spans if one.since <= until and one.until >= since]
        return frozenset(fact for one in seen for fact in one.facts)
