# SPDX-License-Identifier: Apache-2.0
"""The exceptions that cross a backend's border.

::

    ImageAPIError
    +-- ConfigurationError       refused at start: all problems at once
    +-- BackendError             a backend failed in a way not named below
        +-- ForeignError         a backend raised what is none of these: a bug
        +-- ImageNotFound        the registry has no such image
        +-- MalformedImage       a record is not what a record must be
        +-- DataNotFound         the store has no such data
        +-- DataForbidden        the store's upstream refuses it to this caller
        +-- DataChanged          the data is no longer the version asked for
        +-- DataMismatch         the bytes are not those of the record
            +-- WrongHash        they do not have the record's hash
        +-- LocationRefused      a location that may not, or cannot, be opened
        +-- RangeNotSupported    the store answers only with the whole
        +-- BackendUnavailable   unreachable for now: worth another try
        +-- BadReply             an upstream's answer makes no sense

Backends raise these and no others: `ConfigurationError` in a constructor only,
and `DataMismatch` and `WrongHash` never, which are the core's.  Their texts go to
the operator's log and never to a client; a text holds no secret: no credential,
token or query.
"""

from collections.abc import Sequence
from types import TracebackType

from imageapi.visibility import Visibility

# Longer than the paths and URLs in use, with a sentence around them.
_LONGEST_TEXT = 1000


class ImageAPIError(Exception):
    """The root of all that this library raises."""


class ConfigurationError(ImageAPIError):
    """The configuration cannot work.

    :ivar problems: one sentence for each thing to mend.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        # One sentence is meant as one, not as its characters.
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class BackendError(ImageAPIError):
    """A backend failed.

    Its text is one line that prints, of bounded length: a record's author, or an
    upstream, who chose a part of it must write no lines of the operator's log, and
    not flood it.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _LONGEST_TEXT:
            text = f"{text[:_LONGEST_TEXT]}..."
        if text.isprintable():
            return text
        return "".join(character if character.isprintable() else " " for character in text)


class ForeignError(BackendError):
    """Stands in for an exception that a backend should not have raised: a bug.

    Its cause is logged with its traceback; that of other errors is not, since
    nobody knows what a foreign text tells.
    """


class ImageNotFound(BackendError):
    """The registry has no image of this id."""


class MalformedImage(BackendError):
    """The record of an image is not what a record must be.

    :ivar visibility: what the record says of who may know of the image; None where
        it says nothing that can be relied on. A caller who may not know of the image
        is answered as if it were absent.
    """

    def __init__(self, message: str, visibility: Visibility | None = None) -> None:
        self.visibility = visibility
        super().__init__(message)

    def again(self) -> "MalformedImage":
        """The same to be raised anew, without the traceback of the last time."""
        return MalformedImage(self.args[0], self.visibility)


class DataNotFound(BackendError):
    """The store has no data at this location."""


class DataForbidden(BackendError):
    """The store's upstream does not let this caller have the data."""


class DataChanged(BackendError):
    """The data at this location is not, or is no longer, the version asked for."""


class DataMismatch(BackendError):
    """The data is shorter, longer or other than the image's record says."""


class WrongHash(DataMismatch):
    """The data does not have the hash that the image's record gives."""


class LocationRefused(BackendError):
    """The store may not open this location, or no store can."""


class RangeNotSupported(BackendError):
    """The store can answer with the whole data only."""


class BackendUnavailable(BackendError):
    """The backend cannot be reached for now.

    :ivar retry_after: seconds after which the upstream wants to be asked
        again; None where it did not say.
    """

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class BadReply(BackendError):
    """An upstream answered something that makes no sense, or refused us.

    :ivar visibility: as that of `MalformedImage`, where the answer is a malformed
        record; None where it is none at all, which every caller is told.
    """

    def __init__(self, message: str, visibility: Visibility | None = None) -> None:
        self.visibility = visibility
        super().__init__(message)


class only_backend_errors:  # noqa: N801 - used like a keyword, as contextlib's are
    """``with only_backend_errors(backend):`` lets nothing else out.

    An exception that is not a `BackendError` becomes one that names the
    backend, ``from`` its cause.  The cause's own text stays out of the
    message, since nobody knows what a foreign exception tells.
    """

    __slots__ = ("_backend",)

    def __init__(self, backend: object) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, BackendError):
            raise unexpected(self._backend, error) from error


def unexpected(backend: object, error: Exception) -> ForeignError:
    """What stands in for an exception that a backend should not raise.

    To be raised ``from`` it.  Where every microsecond counts, this is used
    instead of `only_backend_errors`.
    """
    return ForeignError(f"{backend} raised {type(error).__name__}")


def bug_in(error: BaseException) -> BaseException | None:
    """The exception that a `ForeignError` stands in for, to be logged; else None."""
    return error.__cause__ if isinstance(error, ForeignError) else None
