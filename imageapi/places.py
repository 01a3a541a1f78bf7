# SPDX-License-Identifier: Apache-2.0
"""Which store opens which of an image's locations, and opening it there."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from imageapi.backends.base import Blob, StoreBackend
from imageapi.caller import Caller
from imageapi.conditions import Span
from imageapi.errors import BackendError, DataChanged, LocationRefused, only_backend_errors
from imageapi.image import Image, Location
from imageapi.loading import Loaded


class Place(NamedTuple):
    """A location of an image's data, and the store that opens it."""

    store: Loaded[StoreBackend]
    location: Location

    def __str__(self) -> str:
        return str(self.store)

    def open(self, span: Span | None, version: str | None, caller: Caller) -> Blob:
        """Open a part of the data, or with None all of it.

        :param version: the bytes that are wanted; None for any.
        :raises BackendError: and nothing else.
        """
        start, stop = span or (0, None)
        with only_backend_errors(self.store):
            blob = self.store.backend.open(
                self.location, start=start, stop=stop, version=version, caller=caller
            )
            if version is not None and blob.version != version:
                blob.close()
                raise DataChanged("other bytes than those that were begun with")
            return blob


class NoPlace(NamedTuple):
    """A location that no store opens, and why; None where the record names none."""

    location: Location | None
    error: BackendError

    def __str__(self) -> str:
        return "no store"


def places_of(image: Image, stores: tuple[Loaded[StoreBackend], ...]) -> Sequence[Place | NoPlace]:
    """Where an image's data lies, best first; never empty.  No I/O."""
    if image.locations:
        return [_place(location, stores) for location in image.locations]
    try:
        with only_backend_errors(stores[0]):
            return [Place(stores[0], stores[0].backend.locate(image.id))]
    except BackendError as error:
        return [NoPlace(None, error)]


def _place(location: Location, stores: Iterable[Loaded[StoreBackend]]) -> Place | NoPlace:
    for store in stores:
        if location.store in (None, store.name) and location.scheme in store.backend.schemes:
            return Place(store, location)
    which = "store" if location.store is None else f"store named {location.store!r:.100}"
    refused = LocationRefused(f"no {which} opens a {location.scheme!r:.20} location")
    return NoPlace(location, refused)
