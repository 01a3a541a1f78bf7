# SPDX-License-Identifier: Apache-2.0
"""Chooses the store for each of an image's locations, and opens the data there."""

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from imageapi.backends.base import Blob, StoreBackend
from imageapi.caller import Caller
from imageapi.config.plugins import Loaded
from imageapi.errors import (
    BackendError,
    DataChanged,
    DataNotFound,
    LocationRefused,
    only_backend_errors,
    unexpected,
)
from imageapi.image import NO_LOCATION, Image, Location


class DataLocation(NamedTuple):
    """A location of an image's data, and the store that opens it.

    :ivar recorded: the location in the image's record, or the one that the store
        computed from the id.
    """

    store: Loaded[StoreBackend]
    recorded: Location

    def __str__(self) -> str:
        return str(self.store)

    def open(self, start: int, stop: int | None, version: str | None, caller: Caller) -> Blob:
        """Open the data from an offset; the parameters are those of `StoreBackend.open`.

        :raises BackendError: the data cannot be opened; no other exception is raised.
        """
        blob: Any = None
        try:
            blob = self.store.backend.open(
                self.recorded, start=start, stop=stop, version=version, caller=caller
            )
            if not isinstance(blob, Blob):
                raise BackendError(f"open() must return a Blob, not {type(blob).__name__}")
            # Resuming relies on these attributes.
            if version not in (None, blob.version):
                raise DataChanged("the store opened another version of the data than requested")
            if blob.total_size is not None and blob.total_size < 0:
                raise BackendError("total_size must be 0 or more, or None if unknown, not negative")
        except BaseException as error:
            if blob is not None:
                with contextlib.suppress(Exception):
                    blob.close()
            if isinstance(error, Exception) and not isinstance(error, BackendError):
                raise unexpected(self.store, error) from error
            raise
        return blob


class UnusableLocation(NamedTuple):
    """A location that no store opens, and the reason.

    :ivar recorded: None if the record has no location.
    :ivar error: what a download of it raises.
    """

    recorded: Location | None
    reason: str
    error: type[BackendError] = LocationRefused

    def __str__(self) -> str:
        return "no store"


def data_locations_of(
    image: Image, stores: tuple[Loaded[StoreBackend], ...]
) -> Sequence[DataLocation | UnusableLocation]:
    """Return the locations of an image's data, best first; never empty.  Does no I/O."""
    if image.locations:
        return [_data_location(location, stores) for location in image.locations]
    try:
        with only_backend_errors(stores[0]):
            return [DataLocation(stores[0], stores[0].backend.locate(image.id))]
    except BackendError as error:
        return [UnusableLocation(None, str(error))]


def _data_location(
    location: Location, stores: Sequence[Loaded[StoreBackend]]
) -> DataLocation | UnusableLocation:
    if location == NO_LOCATION:
        return UnusableLocation(None, "the record names no location of data", DataNotFound)
    for store in stores:
        if location.store in (None, store.name) and location.scheme in store.backend.schemes:
            return DataLocation(store, location)
    which = "store" if location.store is None else f"store named {location.store!r:.100}"
    reason = f"no {which} opens a {location.scheme!r:.20} location"
    names = ", ".join(store.name for store in stores)
    mend = f"[imageapi] stores is {names}: add a store, or correct the location"
    return UnusableLocation(location, f"{reason}; {mend}")
