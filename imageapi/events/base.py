# SPDX-License-Identifier: Apache-2.0
"""The contract of events backends: what happened to each request for an image."""

from abc import abstractmethod
from dataclasses import dataclass
from enum import Enum

from imageapi.backends.base import Backend
from imageapi.caller import ANONYMOUS, Caller
from imageapi.image import Image


class Outcome(Enum):
    """How a response ended."""

    #: The server got every byte of the response.
    COMPLETE = "complete"
    #: The connection was broken off, because the data could not be completed.
    BROKEN_OFF = "broken off"
    #: The client left before the server got every byte.
    LEFT = "left"


@dataclass(frozen=True, kw_only=True)
class RequestEnded:
    """A request for an image whose response has ended.

    It contains the caller's token and the image's locations: never log it as a whole.

    :ivar method: the HTTP method.
    :ivar path: the requested path, percent-encoded, without the query.
    :ivar query: the query as the client sent it, without the question mark.  Clients may send
        tokens in it.
    :ivar range: the value of the header Range as the client sent it; None without the header.
    :ivar image_id: the requested id; None if the path names no image.
    :ivar image: the image as the caller is shown it, without the properties that this caller
        may not read; None if it is absent, or the caller may not know of it.
    :ivar status: the HTTP status; None if the client left before there was one.
    :ivar sends_data: whether the response has the image's data, or a part of it.
    :ivar sent: how many bytes of the body the server got.
    :ivar resumed: how often the data was opened again in the middle of the response.
    :ivar is_verified: whether this response compared the data with its hash, and it was right.
    :ivar is_wrong: whether this response found data with the wrong hash.
    :ivar store: the name of the store that had the data; None if none was opened.
    :ivar cache: how the cache was used: ``hit``: the data was complete in it; ``fill``: this
        request began to fill it; ``follow``: another request or process was filling it; ``miss``:
        the data was read from the store.  None if this data is not kept in a cache.
    :ivar seconds: the time from the request to the end of the response.
    :ivar remote_address: the address of the client, or of the proxy before it, if known.
    :ivar request_id: identifies the request in the log.
    """

    method: str
    path: str
    query: str = ""
    range: str | None = None
    image_id: str | None = None
    image: Image | None = None
    caller: Caller = ANONYMOUS
    status: int | None
    outcome: Outcome
    sends_data: bool = False
    sent: int = 0
    resumed: int = 0
    is_verified: bool = False
    is_wrong: bool = False
    store: str | None = None
    cache: str | None = None
    seconds: float
    remote_address: str | None = None
    request_id: str


@dataclass(frozen=True)
class Load:
    """How busy the threads of a process are, at one moment.

    :ivar busy: how many threads work.
    :ivar waiting: how many requests wait for a thread.
    """

    busy: int
    waiting: int


class EventsBackend(Backend):
    """Is told when requests begin and end.

    Its methods are called in any thread, also in the thread of an event loop.  So they
    return quickly, and wait for nothing.  What they raise is logged, and changes no
    response.
    """

    def request_began(self) -> None:
        """A request began; `request_ended` follows, whatever happens."""

    @abstractmethod
    def request_ended(self, event: RequestEnded) -> None:
        """A response ended."""

    def loaded(self, load: Load) -> None:
        """Get the load of this process; ``imageapi serve`` calls it once a second."""
