# SPDX-License-Identifier: Apache-2.0
"""What follows from an image's record alone; made once a record, and remembered."""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cachetools import FIFOCache

from imageapi.backends.base import StoreBackend
from imageapi.headers import HeaderLine, meta_headers
from imageapi.image import Image, weight_of
from imageapi.loading import Loaded
from imageapi.places import NoPlace, Place, places_of
from imageapi.policy.base import Target

LOG = logging.getLogger(__name__)

# Of the descriptions and their images.
_REMEMBERED_BYTES = 16 * 1024 * 1024

# What a header line takes besides its value's characters.
_LINE_BYTES = 130


class Described(NamedTuple):
    """An image, as it is on the wire, to the policy, and in the stores."""

    image: Image
    headers: tuple[HeaderLine, ...]
    target: Mapping[str, object]
    places: Sequence[Place | NoPlace]

    @property
    def reads_ranges(self) -> bool:
        """Whether the store that comes first reads ranges."""
        first = self.places[0]
        return isinstance(first, Place) and first.store.backend.ranges

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        # Without the stores, which all descriptions share.  They share the
        # headers' names too, which make up for what the cache itself takes.
        places = [(place.location, getattr(place, "reason", "")) for place in self.places]
        headers = sum(_LINE_BYTES + len(value) for _, value in self.headers)
        return weight_of((self.image, places)) + headers


class Descriptions:
    """Describes images; bounded, thread-safe."""

    def __init__(self, stores: tuple[Loaded[StoreBackend], ...], max_property_headers: int) -> None:
        self._stores = stores
        self._max_property_headers = max_property_headers
        self._lock = threading.Lock()
        self._known: FIFOCache[str, Described] = FIFOCache(
            _REMEMBERED_BYTES, getsizeof=lambda described: described.weight
        )

    def of(self, image: Image) -> Described:
        """The description of an image; what cannot be sent of it is logged, once."""
        try:
            with self._lock:
                known = self._known[image.id]
        except KeyError:
            return self._new(image)
        # Both, since to == True is 1, and to repr() all locations are alike.
        if known.image is image or (known.image == image and repr(known.image) == repr(image)):
            return known
        return self._new(image)

    def _new(self, image: Image) -> Described:
        headers = meta_headers(image, self._max_property_headers)
        for note in headers.notes:
            LOG.warning("image %r: %s", image.id, note)
        places = places_of(image, self._stores)
        described = Described(image, headers.lines, Target(image), places)
        with self._lock:
            try:
                self._known[image.id] = described
            except ValueError:
                LOG.warning("image %r: its record is too large to be remembered", image.id)
        return described
