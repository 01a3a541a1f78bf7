# SPDX-License-Identifier: Apache-2.0
"""Opens data in the cache, and fills the cache from the stores.

A hit is as new and as permitted as any download: the registry and the policy were asked, and
the record says which bytes it wants.
"""

import logging
import threading
import time
from typing import NamedTuple, TypeAlias

from imageapi.backends.base import Blob, StoreBackend
from imageapi.cache.blobs import CachedBlob, FollowingBlob, KeptBlob
from imageapi.cache.files import CacheFile
from imageapi.cache.folder import Filling
from imageapi.cache.names import name_of
from imageapi.cache.settings import CacheSettings
from imageapi.caller import Caller
from imageapi.config.plugins import Loaded
from imageapi.download.checksum import Checksum, Compared, Verdicts, checksum_of
from imageapi.download.closing import close_blob
from imageapi.download.store_choice import DataLocation
from imageapi.download.verified_stream import Body
from imageapi.errors import BackendError, RangeNotSupported
from imageapi.image import Image, Location

LOG = logging.getLogger(__name__)

# How many files one process fills at the same time, each in a thread.
_MOST_FILLS = 16

# In what pieces data is read to fill a file.
_FILL_CHUNK = 1024 * 1024

# Between two looks at data that another process may fill, in seconds.
_PAUSE = 0.02

# After a failure of the folder is logged, further ones are not for this time.
_QUIET_SECONDS = 60.0


class CachedLocation(NamedTuple):
    """A location whose data the cache keeps; it can be used as a `DataLocation`.

    :ivar origin: the location itself.
    :ivar name: of the data in the cache.
    """

    cache: "DataCache"
    origin: DataLocation
    image: Image
    checksum: Checksum
    name: str

    @property
    def store(self) -> Loaded[StoreBackend]:
        return self.origin.store

    @property
    def recorded(self) -> Location:
        return self.origin.recorded

    def __str__(self) -> str:
        return str(self.origin)

    def open(self, start: int, stop: int | None, version: str | None, caller: Caller) -> Blob:
        """Open data in the cache, or else at its origin; the parameters are those of
        `DataLocation.open`.

        A version is the origin's: only the origin can tell whether it has the same bytes.

        :raises BackendError: the data cannot be opened; no other exception is raised.
        """
        blob = self.cache.open(self, start, stop, caller) if version is None else None
        return blob or self.origin.open(start, stop, version, caller)


#: A location with or without the cache around it.
OpenLocation: TypeAlias = DataLocation | CachedLocation


class DataCache:
    """The cache of one `ImageAPI`.  Thread-safe; does no I/O until data is opened."""

    def __init__(self, settings: CacheSettings, resume_attempts: int, verdicts: Verdicts) -> None:
        """Prepare.

        :param resume_attempts: the value of the option of this name.
        :param verdicts: which data was compared with its hash; new results are added.
        """
        self._folder = settings.folder
        self._stores = settings.stores
        self._chunk_size = settings.chunk_size
        self._resume_attempts = resume_attempts
        self._verdicts = verdicts
        self._lock = threading.Lock()
        self._fills: set[threading.Thread] = set()
        self._is_closed = False
        self._quiet_until = 0.0

    def around(self, location: DataLocation, image: Image) -> OpenLocation:
        """Return the location with the cache around it, if its data is kept.

        The record must have a hash and the size.
        """
        checksum, name = checksum_of(image), cache_name_of(location, image)
        if checksum is None or name is None or location.store.name not in self._stores:
            return location
        return CachedLocation(self, location, image, checksum, name)

    def open(
        self, location: CachedLocation, start: int, stop: int | None, caller: Caller
    ) -> CachedBlob | None:
        """Open data in the cache; begin to fill it if it is not there.

        :returns: None if the part is not in the cache, or the cache cannot be used.
        :raises BackendError: the store refuses the data, or cannot open it.
        """
        blob: CachedBlob | None = None
        try:
            kept = self._folder.open_kept(location.name)
            if kept is not None:
                blob = KeptBlob(kept, start, stop, self._chunk_size)
            else:
                file = self._folder.open_filling(location.name)
                if file is None:
                    blob = self._begin(location, start, stop, caller)
                else:
                    blob = self._follow(file, start, stop)
        except OSError as error:
            self._complain(error)
        # To begin a fill, the data was opened in the caller's name.
        if blob is not None and blob.how != "fill" and location.store.backend.decides_access:
            _ask(location, caller, blob)
        return blob

    def wait_until_kept(self, location: CachedLocation) -> bool:
        """Wait while any process fills the data; return whether it is kept then."""
        try:
            while True:
                kept = self._folder.open_kept(location.name)
                if kept is not None:
                    kept.close()
                    return True
                file = self._folder.open_filling(location.name)
                if file is None:
                    return False
                file.close()
                time.sleep(_PAUSE)
        except OSError as error:
            self._complain(error)
            return False

    def discard(self, location: CachedLocation) -> None:
        """Remove kept data that was found wrong."""
        try:
            file = self._folder.open_kept(location.name)
            if file is not None:
                self._folder.remove_file(location.name, file.status())
                file.close()
        except OSError as error:
            self._complain(error)

    def close(self) -> None:
        """Stop filling.  May be called twice."""
        with self._lock:
            self._is_closed = True
            fills = list(self._fills)
        for thread in fills:
            thread.join()

    def _follow(
        self, file: CacheFile, start: int, stop: int | None, *, is_first: bool = False
    ) -> CachedBlob | None:
        """Read a file that is being filled; None if the part begins later than what is there."""
        blob = FollowingBlob(self._folder, file, start, stop, self._chunk_size, is_first=is_first)
        if start == 0 or blob.has(start):
            return blob
        blob.close()
        return None

    def _begin(
        self, location: CachedLocation, start: int, stop: int | None, caller: Caller
    ) -> CachedBlob | None:
        """Begin to fill a file, unless there is no room, or another process was faster.

        :returns: None if the part must be read at the origin.
        :raises BackendError: the data cannot be opened.
        :raises OSError: the folder cannot be used.
        """
        filling = self._folder.fill(location.name) if self._may_fill() else None
        if filling is not None and not self._start(location, filling, caller):
            return None
        # Another process may have been faster.
        file = self._folder.open_filling(location.name)
        return None if file is None else self._follow(file, start, stop, is_first=bool(filling))

    def _may_fill(self) -> bool:
        with self._lock:
            return not self._is_closed and len(self._fills) < _MOST_FILLS

    def _start(self, location: CachedLocation, filling: Filling, caller: Caller) -> bool:
        """Open the data at its origin, and start the thread that fills the file.

        :returns: whether the data may be what the record describes.
        :raises BackendError: it cannot be opened.
        """
        data = thread = None
        is_started = False
        try:
            data = location.origin.open(0, None, None, caller)
            if data.total_size in (None, location.image.size) and not self._is_wrong(
                location, data
            ):
                thread = threading.Thread(
                    target=self._fill,
                    args=(location, filling, data, caller),
                    name="imageapi-cache",
                    daemon=True,
                )
                with self._lock:
                    self._fills.add(thread)
                thread.start()
                is_started = True
            return is_started
        finally:
            if not is_started:
                if data is not None:
                    close_blob(data, location.image.id, location)
                filling.discard()
                with self._lock:
                    self._fills.discard(thread)

    def _is_wrong(self, location: CachedLocation, data: Blob) -> bool:
        """Whether these bytes were found wrong a short time ago."""
        compared = _compared(location, data)
        return compared is not None and self._verdicts.is_right(compared) is False

    def _fill(self, location: CachedLocation, filling: Filling, data: Blob, caller: Caller) -> None:
        """Fill a file, in a thread of its own; keep it if the data is right."""
        body = None
        try:
            body = self._body(location, data, caller)
            for chunk in iter(body):
                if self._is_closed:
                    return
                filling.write(chunk)
                body.prefer_chunks_of(_FILL_CHUNK)
            filling.keep()
            self._quiet_until = 0.0
        except BackendError as error:
            LOG.info("image %r: its data is not kept: %s", location.image.id, error)
        except OSError as error:
            self._complain(error)
        finally:
            if body is None:
                close_blob(data, location.image.id, location)
            else:
                body.close()
            filling.discard()
            with self._lock:
                self._fills.discard(threading.current_thread())

    def _body(self, location: CachedLocation, data: Blob, caller: Caller) -> Body:
        def on_compared(is_right: bool) -> None:
            compared = _compared(location, data)
            # If the data was not settled, wrong bytes may have been of two versions.
            if compared is not None and (is_right or data.is_settled):
                self._verdicts.add(compared, is_right=is_right)

        return Body(
            data,
            image_id=location.image.id,
            location=location,
            start=0,
            stop=location.image.size,
            checksum=location.checksum,
            on_compared=on_compared,
            reopen=lambda position, version: location.origin.open(position, None, version, caller),
            resume_attempts=self._resume_attempts,
        )

    def _complain(self, error: OSError) -> None:
        """Log that the folder cannot be used; not again for a minute."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            LOG.error(
                "the cache in %s cannot be used, and downloads go on without it: %s",
                self._folder.directory,
                error.strerror or error,
            )


def cache_name_of(location: DataLocation, image: Image) -> str | None:
    """Return the name of data in a cache; None if its record does not say which bytes it wants."""
    checksum = checksum_of(image)
    if checksum is None or not image.size:
        return None
    url = location.recorded.url
    return name_of(checksum.algorithm, checksum.digest, image.size, location.store.name, url)


def _compared(location: CachedLocation, data: Blob) -> Compared | None:
    if data.version is None:
        return None
    return Compared(location.store.name, location.recorded.url, data.version, location.checksum)


def _ask(location: CachedLocation, caller: Caller, blob: CachedBlob) -> None:
    """Ask the origin whether this caller may have the data.

    :raises BackendError: it refuses, or cannot be asked; then the blob is closed.
    """
    try:
        try:
            # HTTP has no part without a byte.
            data = location.origin.open(0, 1, None, caller)
        except RangeNotSupported:
            data = location.origin.open(0, None, None, caller)
    except BaseException:
        blob.close()
        raise
    close_blob(data, location.image.id, location)
