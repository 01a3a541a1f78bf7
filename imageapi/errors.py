# SPDX-License-Identifier: Apache-2.0
"""The exceptions that backends and the core raise.

::

    ImageAPIError
    +-- ConfigurationError       the configuration is invalid: all problems at once
    +-- BackendError             a backend failed in a way not named below
        +-- ForeignError         a backend raised another exception: a bug
        +-- ImageNotFound        the registry has no such image
        +-- MalformedImage       the record is malformed
        +-- DataNotFound         the store has no such data
        +-- DataForbidden        the store's upstream refuses the data to this caller
        +-- DataChanged          the data is no longer of the requested version
        +-- DataMismatch         the data is not as the record says
            +-- WrongHash        the data does not have the record's hash
        +-- UnsafeImage          the data refers to other files, and must not be served
        +-- LocationRefused      the location must not, or cannot, be opened
        +-- RangeNotSupported    the store can read only the whole data
        +-- BackendUnavailable   unreachable for now: try again later
        +-- BadReply             the upstream's response is invalid

Backends raise only these errors.  They raise `ConfigurationError` only while the
configuration is loaded.  Only the core raises `DataMismatch`, `WrongHash` and `UnsafeImage`.
The texts go to the operator's log and never to a client.  A text contains no secret: no
credential, token or query.
"""

import contextlib
from collections.abc import Iterator, Sequence

from imageapi.visibility import Visibility

# Long enough for a usual path or URL in a sentence.
_LONGEST_TEXT = 1000


class ImageAPIError(Exception):
    """The base class of this library's exceptions."""


class ConfigurationError(ImageAPIError):
    """The configuration is invalid.

    :ivar problems: one sentence for each problem to correct.
    :ivar section: the section of the problems, if its options cannot be known because of
        them.  None for the section of the backend that raises the error.
    """

    def __init__(self, problems: Sequence[str], section: str | None = None) -> None:
        # A single string is one problem, not a sequence of characters.
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        self.section = section
        super().__init__("\n".join(self.problems))


class BackendError(ImageAPIError):
    """A backend failed.

    Its text is one printable line of bounded length.  The author of a record, or an
    upstream, may control a part of it.  So a space replaces each non-printable
    character, to prevent log injection, and the length is limited, to keep the log small.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > _LONGEST_TEXT:
            text = f"{text[:_LONGEST_TEXT]}..."
        if text.isprintable():
            return text
        return "".join(character if character.isprintable() else " " for character in text)


class ForeignError(BackendError):
    """Replaces an exception that a backend should not have raised: a bug.

    Its cause is logged with its traceback.  The causes of other errors are not logged,
    because their texts may contain secrets.
    """


class ImageNotFound(BackendError):
    """The registry has no image with this id."""


class MalformedImage(BackendError):
    """The record of an image is malformed.

    :ivar visibility: the part of the record that decides who may know of the image;
        None if that part is unknown.  A caller that may not know of the image gets
        the answer for an absent one.
    """

    def __init__(self, message: str, visibility: Visibility | None = None) -> None:
        self.visibility = visibility
        super().__init__(message)

    def again(self) -> "MalformedImage":
        """Return a copy to raise again, without the traceback of the last time."""
        return MalformedImage(self.args[0], self.visibility)


class DataNotFound(BackendError):
    """The store has no data at this location."""


class DataForbidden(BackendError):
    """The store's upstream refuses the data to this caller."""


class DataChanged(BackendError):
    """The data at this location is not, or is no longer, of the requested version."""


class DataMismatch(BackendError):
    """The data is shorter or longer than the image's record says, or has another hash."""


class WrongHash(DataMismatch):
    """The data does not have the hash in the image's record."""


class UnsafeImage(BackendError):
    """The data refers to other files, which a program that opens it would read."""


class LocationRefused(BackendError):
    """The store must not open this location, or no store can."""


class RangeNotSupported(BackendError):
    """The store can read only the whole data."""


class BackendUnavailable(BackendError):
    """The backend is unreachable for now.

    :ivar retry_after: after how many seconds the upstream asks clients to try
        again; None if it did not say.
    """

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class BadReply(BackendError):
    """The upstream's response is invalid, or the upstream refuses this service.

    :ivar visibility: as in `MalformedImage`, if the response is a malformed record.
        None if it is not a record at all; then every caller gets the error.
    """

    def __init__(self, message: str, visibility: Visibility | None = None) -> None:
        self.visibility = visibility
        super().__init__(message)


#: After these errors, requesting the rest of the same bytes cannot succeed.
NOT_RESUMED = (
    BadReply,
    DataChanged,
    DataForbidden,
    DataMismatch,
    DataNotFound,
    LocationRefused,
    RangeNotSupported,
)


@contextlib.contextmanager
def only_backend_errors(backend: object) -> Iterator[None]:
    """``with only_backend_errors(backend):`` raises no exception but a `BackendError`.

    Another exception is replaced with a `ForeignError` that names the backend and has
    the exception as its cause.  The message does not contain the cause's text, which
    may contain a secret.
    """
    try:
        yield
    except BackendError:
        raise
    except Exception as error:
        raise unexpected(backend, error) from error


def unexpected(backend: object, error: Exception) -> ForeignError:
    """Return the error that replaces an exception which a backend should not raise.

    Raise it ``from`` that exception.  Code that must be fast uses this instead of
    `only_backend_errors`.
    """
    return ForeignError(f"{backend} raised {type(error).__name__}")


def bug_in(error: BaseException) -> BaseException | None:
    """Return the exception that a `ForeignError` replaces, to be logged; otherwise None."""
    return error.__cause__ if isinstance(error, ForeignError) else None
