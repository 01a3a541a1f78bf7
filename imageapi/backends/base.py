# SPDX-License-Identifier: Apache-2.0
"""The contract of registries and stores; that of policies is policy/base.py.

Each process has one instance of a backend, created before a fork and shared by
threads.  Its constructor does no I/O except reading files that are
configuration.  What it creates later, it creates under a lock.  A backend raises
only the exceptions of `imageapi.errors`, and their texts contain no secret.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import ClassVar, Self

from oslo_config import cfg

from imageapi.backends.listing import ListQuery
from imageapi.backends.writing import DataWriter, RecordWriter
from imageapi.caller import Caller
from imageapi.image import Image, Location

#: The version of this interface; docs/compatibility.md says when it grows.
API_VERSION = 1


class Backend(ABC):
    """What registries, stores and policies have in common."""

    #: The version of this interface that the backend needs.  An imageapi whose
    #: `API_VERSION` is lower refuses to load the backend.
    api_version: ClassVar[int] = 1

    #: Whether ``serve`` calls `check` when it starts.  Only for a check that opens no
    #: connection and takes no time.
    checks_at_start: ClassVar[bool] = False

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        """Return the options of its section; the loader registers and checks them."""
        return ()

    @classmethod
    def dependent_options(
        cls,
        conf: cfg.ConfigOpts,  # noqa: ARG003 - for those that have some
        group: str,  # noqa: ARG003 - for them, too
    ) -> Mapping[str, Sequence[cfg.Opt]]:
        """Return options that depend on the values of those in `options`.

        :param conf: a configuration in which the section's options can be read.
        :returns: the options, by section: the backend's own section, or another
            that an option names.  The loader registers and checks them too.
        :raises imageapi.errors.ConfigurationError: the values are invalid.
        """
        return {}

    @abstractmethod
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        """Read the options, and configuration files that they name; do no other I/O.

        :param conf: the caller's configuration.
        :param group: the section of this instance's options.
        :raises imageapi.errors.ConfigurationError: the options are invalid.
        """

    @abstractmethod
    def check(self) -> str:
        """Test whether the backend works, for ``imageapi check``.

        :returns: a short text for the operator, such as where the data is.
            It contains no secret, and may be empty.
        :raises imageapi.errors.BackendError: the backend does not work.
        """

    def close(self) -> None:  # noqa: B027 - most backends hold nothing open
        """Close everything that is open.  May be called twice."""


class RegistryBackend(Backend):
    """Finds the records of images."""

    #: True if the upstream decides whether the caller may know of an image, so
    #: that `get` and `list` return only such images.  Deleted images stay hidden.
    #: If False, the core decides, by is_public, owner and members.
    decides_visibility: bool = False

    #: Whether `list` works.  If False, the lists of the API are 404.
    can_list: bool = False

    @abstractmethod
    def get(self, image_id: str, caller: Caller) -> Image:
        """Return the record of one image.

        :param image_id: any text that `imageapi.image.is_image_id` accepts;
            compare it exactly.
        :raises imageapi.errors.ImageNotFound: the image does not exist.
        :raises imageapi.errors.MalformedImage: the record is malformed.
        :raises imageapi.errors.BackendUnavailable: the registry is unreachable for now.
        :raises imageapi.errors.BadReply: the upstream's response is invalid.
        """

    def get_newest(self, image_id: str, caller: Caller) -> Image:
        """Return the record of one image as it is now, like `get`.

        Commands and lists call it.  Override it in a registry whose `get` may return a
        record that was read before, without asking whether it has changed.
        """
        return self.get(image_id, caller)

    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        """Yield the images that a query describes, one after the other, in its order.

        The core takes as many as it needs, and then closes the generator.  It decides
        again which of them the caller may know of, unless `decides_visibility` is set.
        Their memory must stay bounded: yield each image as soon as it is known.  A
        malformed record is left out, and logged.

        :raises imageapi.errors.BackendUnavailable: the registry is unreachable for now.
        :raises imageapi.errors.BadReply: the upstream's response is invalid.
        """
        raise NotImplementedError("this registry cannot list images; set can_list only if it can")

    def image_ids(self) -> Iterator[str] | None:
        """Return the ids of all records, in any order; None if the registry cannot tell.

        :raises imageapi.errors.BackendError: as for `get`; also while iterating.
        """
        return None

    def writer(self) -> RecordWriter | None:
        """Return what writes the records; None if nothing here does."""
        return None


class Blob(ABC):
    """Data being read: an iterator over chunks, owned by one response.

    :ivar total_size: the size of the whole object in bytes, even if only a part is
        read.  None, and not 0, if unknown.
    :ivar version: a name of exactly these bytes.  None if there is no such name:
        then a broken download is not resumed, and no verification is remembered.
    :ivar is_settled: True if all remaining bytes are of this version too, or reading
        raises an error, even if the data changes meanwhile.  If False, each whole
        download is verified, and each part that reaches the end.  Wrong bytes then
        do not mark the version as wrong.
    :ivar is_trusted: True if the same version always means the same bytes.  If False,
        downloads are verified as if is_settled were False.
    :ivar preferred_chunk_size: the chunk size in bytes that the core prefers, for a
        fast client; 0 for the configured size.  The core sets it between chunks.  A
        Blob may ignore it.
    """

    total_size: int | None
    version: str | None
    is_settled: bool = True
    is_trusted: bool = True
    preferred_chunk_size: int = 0

    def __iter__(self) -> Self:
        return self

    @property
    def awaits_data(self) -> bool:
        """Whether the next chunk would wait for another reader of the same data.

        Over ASGI, the core then asks again a little later, and no thread waits.  This
        never blocks, and raises no error.
        """
        return False

    @abstractmethod
    def __next__(self) -> bytes:
        """Return the next chunk, which is never empty.

        The iterator ends only at the end of the data, or of the requested part.

        :raises imageapi.errors.DataChanged: the data was changed while it was read.
        :raises imageapi.errors.BadReply: the data is damaged; the rest is not requested.
        :raises imageapi.errors.BackendUnavailable: reading failed before the end; the rest is
            requested from `StoreBackend.open`.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything immediately, without reading the rest.

        May be called repeatedly, before the first chunk, and from another thread than the one
        in which `__next__` runs.
        """


class StoreBackend(Backend):
    """Reads the data of images."""

    #: The schemes of the URLs that the store opens, in lower case.  The first store with
    #: its scheme opens a location that names no store.
    schemes: ClassVar[frozenset[str]]

    #: Whether the store can read a part of the data.  If False, `open` raises
    #: RangeNotSupported for any start or stop other than the defaults.
    ranges: ClassVar[bool] = True

    #: True if the upstream decides whether the caller may have the data.  Then it is
    #: asked for one byte in the caller's name before data is sent from the cache.
    decides_access: bool = False

    def exposes(self, registry: RegistryBackend) -> str:
        """Tell whether clients could download the registry's records from this store.

        Such a configuration is refused at start, because records contain what clients
        must not see.

        :returns: the reason, beginning with the option to change; empty if they cannot.
        """
        return ""

    def writer(self) -> DataWriter | None:
        """Return what writes data; None if nothing here does."""
        return None

    @abstractmethod
    def locate(self, image_id: str) -> Location:
        """Return the location of the data of a record without one.  Does no I/O.

        :raises imageapi.errors.LocationRefused: each record must name a location.
        """

    @abstractmethod
    def open(
        self,
        location: Location,
        *,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        caller: Caller,
    ) -> Blob:
        """Open data.  Errors in opening are raised here, not at the first chunk.

        :param start: the offset of the first byte to read.  At the end of the data or past
            it, return a Blob without data, or raise an error.
        :param stop: the offset before which to stop; None, or past the end, for the end.
        :param version: the `Blob.version` that the bytes must have; None for any.
        :raises imageapi.errors.DataNotFound: there is no data at this location.
        :raises imageapi.errors.DataChanged: the data there is of another version.
        :raises imageapi.errors.DataForbidden: the upstream refuses it to this caller.
        :raises imageapi.errors.LocationRefused: the store may not open this location.
        :raises imageapi.errors.RangeNotSupported: the store can read only the whole.
        :raises imageapi.errors.BackendUnavailable: the store is unreachable for now.
        :raises imageapi.errors.BadReply: the upstream's response is invalid.
        """
