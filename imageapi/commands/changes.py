# SPDX-License-Identifier: Apache-2.0
"""What the commands do to an image: its data first, its record last.

An interruption at any moment leaves the image as it was, or as it will be.  At worst it
leaves data that no record uses; ``imageapi verify --all`` names it.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from imageapi import document
from imageapi.backends.base import StoreBackend
from imageapi.backends.writing import (
    DataWriter,
    Digests,
    HashingReader,
    RecordExists,
    RecordWriter,
    WriteError,
)
from imageapi.config.plugins import Backends, Loaded
from imageapi.document.editing import changed, new_record
from imageapi.document.writing import locations_of
from imageapi.download.store_choice import UnusableLocation, data_locations_of
from imageapi.errors import (
    ConfigurationError,
    ImageAPIError,
    ImageNotFound,
    MalformedImage,
    only_backend_errors,
)
from imageapi.image import DELETED, Image, Location

LOG = logging.getLogger(__name__)


class Writers(NamedTuple):
    """The writers of a configuration's registry and of one of its stores.

    :ivar is_first: whether the store finds the data of a record without a location.
    """

    records: RecordWriter
    data: DataWriter
    store: Loaded[StoreBackend]
    is_first: bool


def record_writer(backends: Backends) -> RecordWriter:
    """Return the writer of the registry.

    :raises ConfigurationError: it cannot be written to.
    """
    registry = backends.registry
    with only_backend_errors(registry):
        writer = registry.backend.writer()
    if writer is None:
        raise ConfigurationError([f"{registry} (driver {registry.driver!r}) cannot be written to"])
    return writer


def data_writer(store: Loaded[StoreBackend]) -> DataWriter:
    """Return the writer of a store.

    :raises ConfigurationError: it cannot be written to.
    """
    with only_backend_errors(store):
        writer = store.backend.writer()
    if writer is None:
        raise ConfigurationError([f"{store} (driver {store.driver!r}) cannot be written to"])
    return writer


def writers_of(backends: Backends, store_name: str | None = None) -> Writers:
    """Return the writers of the registry and of a store, by default the first one.

    :raises ConfigurationError: one of them cannot be written to, or there is no such store.
    """
    found = [one for one in backends.stores if store_name in (None, one.name)]
    if not found:
        names = ", ".join(one.name for one in backends.stores)
        raise ConfigurationError([f"no store is named {store_name!r}; there are: {names}"])
    store = found[0]
    is_first = store is backends.stores[0]
    return Writers(record_writer(backends), data_writer(store), store, is_first)


def add(
    writers: Writers,
    image: Image,
    data: HashingReader,
    checksum: str | None,
    *,
    beside: bool = False,
) -> Image:
    """Add an image with its data.

    :param image: its details; status, size, hashes, times and location are filled in.
    :param checksum: the MD5 or SHA-512 that the data must have; None for any.
    :param beside: whether data that a killed command left is kept, and the data gets another
        place.
    :returns: the image as it was recorded.
    :raises WriteError: the id exists, or something cannot be written.
    """
    refuse_existing(writers.records, image.id)
    with writers.data.put(image, data, is_replacement=beside) as new:
        _check_digests(data.digests(), checksum)
        location = _recorded(new.location, writers, image.id)
        locations = () if location is None else (location,)
        complete = _with_digests(replace(image, locations=locations), data.digests())
        record = new_record(complete)
        try:
            # From here on, the data may go only when no record names it.
            new.is_kept = True
            writers.records.create(image.id, record)
        except BaseException as error:
            may_be_ours = not isinstance(error, RecordExists)
            new.is_kept = not _is_withdrawn(
                writers.records, complete, record, may_be_ours=may_be_ours
            )
            raise
    return complete


def take(writers: Writers, image: Image, digests: Digests) -> None:
    """Add an image with the data that a killed command has left (`DataWriter.left_behind`).

    :param digests: those of the data.
    :raises WriteError: the id exists, or the data was removed meanwhile.
    """
    location = _recorded(None, writers, image.id)
    locations = () if location is None else (location,)
    record = new_record(_with_digests(replace(image, locations=locations), digests))
    writers.records.create(image.id, record)
    # The other command may be still running, and have removed its data before this record.
    if writers.data.left_behind(image.id) is None:
        writers.records.remove(image.id, record)
        raise WriteError("the data that was there was removed meanwhile: try again")


def _recorded(location: Location | None, writers: Writers, image_id: str) -> Location | None:
    """Return the location to record; it names the store unless that is the first one."""
    store = writers.store
    if writers.is_first and not writers.records.needs_locations:
        return location
    return replace(location or store.backend.locate(image_id), store=store.name)


def register(
    records: RecordWriter, image: Image, location: Location, digests: Digests, checksum: str | None
) -> None:
    """Add an image whose data exists at a location.

    :param digests: those of the data.
    :raises WriteError: the data has another checksum, or the id exists.
    """
    _check_digests(digests, checksum)
    complete = _with_digests(replace(image, locations=(location,)), digests)
    records.create(image.id, new_record(complete))


def _with_digests(image: Image, digests: Digests) -> Image:
    now = datetime.now(UTC)
    return replace(
        image,
        status="active",
        size=digests.size,
        checksum=digests.md5,
        os_hash_algo="sha512",
        os_hash_value=digests.sha512,
        created_at=image.created_at or now,
        updated_at=image.updated_at or now,
    )


def _check_digests(digests: Digests, checksum: str | None) -> None:
    if checksum is not None and checksum not in (digests.md5, digests.sha512):
        found = digests.md5 if len(checksum) == len(digests.md5) else digests.sha512
        raise WriteError(f"the data has the checksum {found}, not {checksum}")


def image_of(records: RecordWriter, image_id: str) -> Image:
    """Return the image of a record, as it is written now.

    :raises BackendError: there is no record, or it is malformed.
    """
    return document.parse(records.read(image_id), image_id)


def change(
    records: RecordWriter,
    image_id: str,
    fields: Callable[[frozenset[str]], Mapping[str, Any]],
    *,
    properties: Mapping[str, str] | None = None,
    removed_properties: Collection[str] = (),
) -> None:
    """Change the details of an image.

    :param fields: returns the new values, as for `changed`; it gets the present members.
    :raises WriteError: somebody else has changed the record at the same moment.
    """
    old = records.read(image_id)
    new = changed(
        old,
        image_id,
        fields(document.parse(old, image_id).members),
        properties=properties,
        removed_properties=removed_properties,
    )
    records.replace(image_id, old, new)


def replace_data(
    writers: Writers, backends: Backends, image_id: str, data: HashingReader, checksum: str | None
) -> None:
    """Give an image other data, then remove the data that it had.

    An image that never had data becomes active.

    :raises WriteError: the record changed meanwhile, or something cannot be written.
    """
    old = writers.records.read(image_id)
    image = document.parse(old, image_id)
    _refuse_protected(image)
    if image.deleted or image.status in DELETED:
        raise WriteError("it is deleted: add an image with another id")
    with writers.data.put(image, data, is_replacement=True) as new:
        digests = data.digests()
        _check_digests(digests, checksum)
        fields = _data_fields(digests, _recorded(new.location, writers, image_id))
        if image.status != "deactivated":
            fields["status"] = "active"
        record = changed(old, image_id, fields)
        try:
            # From here on, the data may go only when no record names it.
            new.is_kept = True
            writers.records.replace(image.id, old, record)
        except BaseException:
            new.is_kept = _may_be_recorded(writers.records, image.id, new.location)
            raise
    _remove_data(image, backends)


def _data_fields(digests: Digests, location: Location | None) -> dict[str, object]:
    locations = None if location is None else locations_of([location])
    return {
        "size": digests.size,
        "virtual_size": None,
        "checksum": digests.md5,
        "os_hash_algo": "sha512",
        "os_hash_value": digests.sha512,
        "location": None,
        "direct_url": None,
        "locations": locations,
    }


def remove(records: RecordWriter, backends: Backends, image_id: str) -> None:
    """Remove an image: its record first, and then the data that only this image uses."""
    old = records.read(image_id)
    image = document.parse(old, image_id)
    _refuse_protected(image)
    records.remove(image_id, old)
    # In Swift, another command may have written the record again at the same moment.
    try:
        records.read(image_id)
    except ImageNotFound:
        _remove_data(image, backends)
    else:
        raise WriteError("another command wrote its record at the same moment: try again")


def _refuse_protected(image: Image) -> None:
    if image.protected:
        raise WriteError(f"it is protected: first run 'imageapi set {image.id} --no-protected'")


def _remove_data(image: Image, backends: Backends) -> None:
    """Remove the data of a record that is gone, and log what remains."""
    for location in data_locations_of(image, backends.stores):
        if isinstance(location, UnusableLocation):
            LOG.warning("image %r: data of %s is not removed", image.id, location)
            continue
        where = f"{location}, {location.recorded.redacted()}"
        writer = location.store.backend.writer()
        if writer is None or not writer.owns(image.id, location.recorded):
            LOG.warning("image %r: data that others may use is not removed: %s", image.id, where)
            continue
        try:
            writer.remove(location.recorded)
        except ImageAPIError as error:
            LOG.error("image %r: %s is left, and no record uses it: %s", image.id, where, error)


def refuse_existing(records: RecordWriter, image_id: str) -> None:
    """Refuse an id that has a record, before any data is read.

    :raises WriteError: it has one.
    """
    try:
        records.read(image_id)
    except ImageNotFound:
        return
    raise WriteError("it exists already; choose another id, or use the commands set and replace")


def _may_be_recorded(records: RecordWriter, image_id: str, location: Location | None) -> bool:
    """Whether a record may name data that was written, as far as it can be read."""
    try:
        image = image_of(records, image_id)
    except ImageNotFound:
        return False
    except ImageAPIError:
        return True
    return location is None or location.url in [one.url for one in image.locations]


def _is_withdrawn(records: RecordWriter, image: Image, record: bytes, *, may_be_ours: bool) -> bool:
    """Remove the record if it is ours: it may have been stored despite an error.

    :param may_be_ours: whether it may be ours if it is the same.  A command that took our
        data, as `take` does, can have written the same record.
    :returns: whether it is certain that no record names our data.
    """
    try:
        found = records.read(image.id)
        if may_be_ours and found == record:
            records.remove(image.id, record)
            return True
        other = document.parse(found, image.id)
    except (ImageNotFound, MalformedImage):
        return True
    except ImageAPIError as error:
        LOG.error("the record of image %r may be left behind: %s", image.id, error)
        return False
    # Another command may have changed our record already.
    ours = (image.locations, image.os_hash_value)
    return (other.locations, other.os_hash_value) != ours
