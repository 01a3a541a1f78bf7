# SPDX-License-Identifier: Apache-2.0
"""What an image's record determines: its headers and the locations of its data.

Both are computed once for each record and for what callers may read, and remembered.
"""

import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from imageapi.backends.base import StoreBackend
from imageapi.bounded_cache import BoundedCache
from imageapi.config.plugins import Loaded
from imageapi.document.unknown_keys import notes_of
from imageapi.download.store_choice import DataLocation, UnusableLocation, data_locations_of
from imageapi.image import Image, weight_of
from imageapi.policy.base import Target
from imageapi.policy.property_protections import PropertyReader
from imageapi.protocol.image_headers import HeaderLine, meta_headers

LOG = logging.getLogger(__name__)

# For all views, without their images: these belong to the registry.
_REMEMBERED_BYTES = 6 * 1024 * 1024

# How many versions of records have their notes logged only once; each takes about 200 bytes.
_MOST_NOTED = 10_000

# The memory for a header line, without the characters of its value.
_LINE_BYTES = 130


class ImageView(NamedTuple):
    """An image as a caller is shown it: headers, target for the policy, locations in stores."""

    image: Image
    headers: tuple[HeaderLine, ...]
    target: Mapping[str, object]
    locations: Sequence[DataLocation | UnusableLocation]

    @property
    def reads_ranges(self) -> bool:
        """Whether the store of the first location reads ranges."""
        first = self.locations[0]
        return isinstance(first, DataLocation) and first.store.backend.ranges


class _Remembered(NamedTuple):
    """What was computed from an image; used while the registry returns the same object.

    :ivar shown: the image without the hidden properties; None if all are shown.
    """

    image: weakref.ref[Image]
    shown: Image | None
    headers: tuple[HeaderLine, ...]
    locations: Sequence[DataLocation | UnusableLocation]

    def weight(self) -> int:
        """About how much memory this takes, in bytes.

        The stores are shared and not counted.  The names of the headers are shared too;
        what is counted for them covers the memory of the cache itself.
        """
        locations = [
            (location.recorded, getattr(location, "reason", "")) for location in self.locations
        ]
        shown = 0 if self.shown is None else weight_of(self.shown)
        lines = sum(_LINE_BYTES + len(value) for _, value in self.headers)
        return weight_of(locations) + shown + lines


class ImageViews:
    """Makes the views of images; bounded, thread-safe."""

    def __init__(self, stores: tuple[Loaded[StoreBackend], ...], max_property_headers: int) -> None:
        self._stores = stores
        self._max_property_headers = max_property_headers
        self._known: BoundedCache[tuple[str, object], _Remembered] = BoundedCache(_REMEMBERED_BYTES)
        # Keyed by hashes, so that an entry is small and remembered much longer than a view.
        self._noted: BoundedCache[int, bool] = BoundedCache(_MOST_NOTED)

    def of(self, image: Image, reader: PropertyReader) -> ImageView:
        """Return the view of an image; log once what is wrong with its record.

        That is: what cannot be sent unchanged, and keys of the record that are not used.

        :param reader: what the caller may read.
        """
        key = (image.id, reader.readable)
        known = self._known.get(key)
        if known is None or known.image() is not image:
            known = self._new(image, reader.shown(image))
            self._known.offer(key, known, _Remembered.weight)
        shown = known.shown or image
        return ImageView(shown, known.headers, Target(shown), known.locations)

    def _new(self, image: Image, shown: Image) -> _Remembered:
        headers = meta_headers(shown, self._max_property_headers)
        notes = (*headers.notes, *notes_of(image))
        if notes:
            version = hash((image.id, headers.lines, image.unknown_keys))
            is_noted = self._noted.get(version)
            self._noted.put(version, True)
            for note in () if is_noted else notes:
                LOG.warning("image %r: %s", image.id, note)
        return _Remembered(
            weakref.ref(image),
            None if shown is image else shown,
            headers.lines,
            data_locations_of(image, self._stores),
        )
