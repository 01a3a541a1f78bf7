# SPDX-License-Identifier: Apache-2.0
"""Which store opens which of an image's locations, and opening it there."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from imageapi.backends.base import Blob, StoreBackend
from imageapi.caller import Caller
from imageapi.config.plugins import Loaded
from imageapi.errors import BackendError, DataChanged, only_backend_errors, unexpected
from imageapi.image import Image, Location


class DataLocation(NamedTuple):
    """A location of an image's data, and the store that opens it.

    :ivar recorded: as the image's record has it, or as the store makes it of the id.
    """

    store: Loaded[StoreBackend]
    recorded: Location

    def __str__(self) -> str:
        return str(self.store)

    def open(self, start: int, stop: int | None, version: str | None, caller: Caller) -> Blob:
        """Open the data from a byte on; parameters as for `StoreBackend.open`.

        :raises BackendError: and nothing else.
        """
        blob = None
        try:
            blob = self.store.backend.open(
                self.recorded, start=start, stop=stop, version=version, caller=caller
            )
            # Resuming relies on these; what lacks one is no Blob.
            if version not in (None, blob.version):
                raise DataChanged("other bytes than those that were begun with")
            if blob.total_size is not None and blob.total_size < 0:
                raise BackendError("total_size is negative; for unknown it is None")
        except BaseException as error:
            if blob is not None:
                with contextlib.suppress(Exception):
                    blob.close()
            if isinstance(error, Exception) and not isinstance(error, BackendError):
                raise unexpected(self.store, error) from error
            raise
        return blob


class UnusableLocation(NamedTuple):
    """A location that no store opens, and why; None where the record names none."""

    recorded: Location | None
    reason: str

    def __str__(self) -> str:
        return "no store"


def data_locations_of(
    image: Image, stores: tuple[Loaded[StoreBackend], ...]
) -> Sequence[DataLocation | UnusableLocation]:
    """Where an image's data lies, best first; never empty.  No I/O."""
    if image.locations:
        return [_data_location(location, stores) for location in image.locations]
    try:
        with only_backend_errors(stores[0]):
            return [DataLocation(stores[0], stores[0].backend.locate(image.id))]
    except BackendError as error:
        return [UnusableLocation(None, str(error))]


def _data_location(
    location: Location, stores: Iterable[Loaded[StoreBackend]]
) -> DataLocation | UnusableLocation:
    for store in stores:
        if location.store in (None, store.name) and location.scheme in store.backend.schemes:
            return DataLocation(store, location)
    which = "store" if location.store is None else f"store named {location.store!r:.100}"
    return UnusableLocation(location, f"no {which} opens a {location.scheme!r:.20} location")
