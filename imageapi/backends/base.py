# SPDX-License-Identifier: Apache-2.0
"""The contract of registries and stores; that of policies is policy/base.py.

One instance a process, made before a fork and shared by threads: a
constructor does no I/O but reading files that are configuration, and what is
made lazily is made under a lock.  A backend raises the exceptions of
`imageapi.errors` and no others, with no secret in their texts.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from oslo_config import cfg

from imageapi.backends.upload import Adder
from imageapi.caller import Caller
from imageapi.image import Image, Location

#: The version of this interface; docs/compatibility.md says when it grows.
API_VERSION = 1


class Backend(ABC):
    """What registries, stores and policies have in common."""

    #: The version of the interface that it needs.  An imageapi whose
    #: `API_VERSION` is older refuses to load it.
    api_version: ClassVar[int] = 1

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        """The options of its section; the loader registers and checks them."""
        return ()

    @classmethod
    def dependent_options(
        cls,
        conf: cfg.ConfigOpts,  # noqa: ARG003 - for those that have some
        group: str,  # noqa: ARG003 - for them, too
    ) -> Mapping[str, Sequence[cfg.Opt]]:
        """Options that it has only where those of `options` have certain values.

        :param conf: with the options of its section, which can be used.
        :returns: options by the section that they are in, its own or another
            that an option names; the loader registers and checks them too.
        :raises imageapi.errors.ConfigurationError: the values cannot work.
        """
        return {}

    @abstractmethod
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        """Read the options, and files that they name as configuration; no other I/O.

        :param conf: the caller's configuration.
        :param group: the section that holds this instance's options.
        :raises imageapi.errors.ConfigurationError: they cannot work.
        """

    @abstractmethod
    def check(self) -> str:
        """Try whether it can do its work, for ``imageapi check``.

        :returns: a few words for the operator, such as where its data lies;
            no secret.
        :raises imageapi.errors.BackendError: what is wrong.
        """

    def close(self) -> None:  # noqa: B027 - most backends hold nothing open
        """Let go of all that is held open.  May be called twice."""


class RegistryBackend(Backend):
    """Knows the records of images."""

    #: Whether its upstream has decided already that the caller may know of an
    #: image that `get` answers with.  Else the core decides, by is_public,
    #: owner and members.
    decides_visibility: bool = False

    @abstractmethod
    def get(self, image_id: str, caller: Caller) -> Image:
        """The record of one image.

        :param image_id: any text that `imageapi.image.is_image_id` accepts,
            compared exactly.
        :raises imageapi.errors.ImageNotFound: there is none.
        :raises imageapi.errors.MalformedImage: the record is not one.
        :raises imageapi.errors.BackendUnavailable: it cannot be asked now.
        :raises imageapi.errors.BadReply: its upstream's answer makes no sense.
        """


class Blob(ABC):
    """Data being read: an iterator over chunks, owned by one response.

    :ivar total_size: bytes of the whole object, also where only a part is
        read; None where unknown, never 0 for unknown.
    :ivar version: names these exact bytes; None where nothing does, and then
        a broken download is not resumed and nothing is remembered as verified.
    :ivar is_settled: whether what is still to be read is of that version too,
        whatever happens meanwhile, or ends in an error.  Where it is not, each whole
        download is verified, and so is each part that reaches the end; and wrong bytes
        say nothing about the version.
    :ivar is_trusted: whether the same version always names the same bytes.  Where it
        does not, downloads are verified as where it is not settled.
    :ivar preferred_chunk_size: how many bytes the core would like a chunk to have, for
        a client that takes them fast; 0 for as many as are configured.  The core sets
        it between chunks; a Blob may ignore it.
    """

    total_size: int | None
    version: str | None
    is_settled: bool = True
    is_trusted: bool = True
    preferred_chunk_size: int = 0

    def __iter__(self) -> Self:
        return self

    @abstractmethod
    def __next__(self) -> bytes:
        """The next chunk, never an empty one.

        Ends only where the data, or the part asked for, ends.

        :raises imageapi.errors.DataChanged: the data was changed meanwhile.
        :raises imageapi.errors.BackendUnavailable: it broke off.
        """

    @abstractmethod
    def close(self) -> None:
        """Release all at once, without reading the rest.

        Idempotent; legal before the first chunk.
        """


class StoreBackend(Backend):
    """Reads the data of images."""

    #: The schemes, in lower case, of the URLs that it opens.
    schemes: ClassVar[frozenset[str]]

    #: Whether it reads parts at all.  One that does not raises
    #: RangeNotSupported for any other start or stop than the defaults.
    ranges: ClassVar[bool] = True

    def exposes(self, registry: RegistryBackend) -> str:
        """Whether the registry's records could be downloaded from this store as data.

        Such a configuration is refused at start, since records hold what clients must
        not see.

        :returns: why, beginning with the option to change; empty where they cannot.
        """
        return ""

    def adder(self, registry: RegistryBackend) -> Adder | None:
        """A function that adds images to this store and to a registry, for ``imageapi add``.

        :returns: None where images cannot be added to both.
        """
        return None

    @abstractmethod
    def locate(self, image_id: str) -> Location:
        """Where the data lies of a record that names no location.  No I/O."""

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
        """Open data; does its I/O now and raises now, never at the first chunk.

        :param start: the first byte to read.
        :param stop: the byte before which to stop; None for the end.
        :param version: the `Blob.version` that the bytes must have.
        :raises imageapi.errors.DataNotFound: nothing lies there.
        :raises imageapi.errors.DataChanged: other bytes than ``version`` do.
        :raises imageapi.errors.DataForbidden: its upstream does not let this caller.
        :raises imageapi.errors.LocationRefused: it may not open that.
        :raises imageapi.errors.RangeNotSupported: it cannot read just a part.
        :raises imageapi.errors.BackendUnavailable: it cannot be reached now.
        :raises imageapi.errors.BadReply: its upstream's answer makes no sense.
        """
