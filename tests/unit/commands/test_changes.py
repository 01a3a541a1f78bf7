# SPDX-License-Identifier: Apache-2.0
"""In which order data and records are written; test_add.py and others have the commands."""

import hashlib
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

import imageapi
from imageapi import document
from imageapi.backends.writing import Digests, HashingReader, RecordWriter, WriteError
from imageapi.commands import changes
from imageapi.errors import BackendUnavailable, ConfigurationError, ImageNotFound
from imageapi.image import Image, Location
from tests.deployment import Deployment
from tests.memory import Memory

MD5, SHA512 = hashlib.md5(b"data").hexdigest(), hashlib.sha512(b"data").hexdigest()
DIGESTS = Digests(4, MD5, SHA512)
QUEUED = Image(id="i", status="queued", is_public=True)


class DictRecords(RecordWriter):
    """Records in a dict.

    :ivar at_create, at_replace, at_remove: what happens instead, if it is set.
    """

    def __init__(self, **records: bytes) -> None:
        self.records = records
        self.at_create: Callable[[bytes], None] | None = None
        self.at_replace: Callable[[], None] | None = None
        self.at_remove: Callable[[], None] | None = None

    def read(self, image_id: str) -> bytes:
        try:
            return self.records[image_id]
        except KeyError:
            raise ImageNotFound("no record") from None

    def create(self, image_id: str, record: bytes) -> None:
        if self.at_create is not None:
            self.at_create(record)
        else:
            self.records[image_id] = record

    def replace(self, image_id: str, old: bytes, new: bytes) -> None:
        if self.at_replace is not None:
            self.at_replace()
        if self.records.get(image_id) != old:
            raise WriteError("changed meanwhile")
        self.records[image_id] = new

    def remove(self, image_id: str, old: bytes) -> None:
        assert self.records.pop(image_id) == old
        if self.at_remove is not None:
            self.at_remove()

    def image(self) -> Image:
        return document.parse(self.records["i"], "i")


def image_data(data: bytes = b"data") -> HashingReader:
    return HashingReader(io.BytesIO(data), lambda _: None)


def stored_record(**fields: Any) -> bytes:
    return json.dumps({"status": "active", "is_public": True, **fields}).encode()


def dict_writers(api: imageapi.ImageAPI, **records: bytes) -> tuple[changes.Writers, DictRecords]:
    """The writers of the store, and of a registry with these records."""
    found = DictRecords(**records)
    return changes.writers_of(api.backends)._replace(records=found), found


class TestWritersOf:
    def test_first_store_is_the_default(self, api: imageapi.ImageAPI) -> None:
        writers = changes.writers_of(api.backends)
        assert (writers.store.name, writers.is_first) == ("file", True)

    def test_unknown_store(self, api: imageapi.ImageAPI) -> None:
        with pytest.raises(ConfigurationError, match="no store is named 'x'; there are: file"):
            changes.writers_of(api.backends, "x")

    def test_backends_that_cannot_be_written_to(self, memory: Memory) -> None:
        told = "'memory'.* cannot be written to"
        with pytest.raises(ConfigurationError, match=told):
            changes.record_writer(memory.api.backends)
        with pytest.raises(ConfigurationError, match=told):
            changes.data_writer(memory.api.backends.stores[0])


class TestAdd:
    def test_what_the_data_says_is_filled_in(self, api: imageapi.ImageAPI) -> None:
        writers, records = dict_writers(api)
        added = changes.add(writers, QUEUED, image_data(), SHA512)
        found = records.image()
        assert (found.status, found.size, found.checksum) == ("active", 4, MD5)
        assert (added.status, added.size, added.checksum) == ("active", 4, MD5)
        assert (added.os_hash_algo, added.os_hash_value) == ("sha512", SHA512)
        assert added.created_at == added.updated_at
        assert added.locations == ()

    def test_time_that_is_given_stays(self, api: imageapi.ImageAPI) -> None:
        writers, _ = dict_writers(api)
        day = datetime(2010, 2, 3, tzinfo=UTC)
        image = Image(id="i", status="queued", created_at=day)
        added = changes.add(writers, image, image_data(), None)
        assert added.created_at == day
        assert added.updated_at is not None
        assert added.updated_at > day

    def test_record_names_a_store_that_is_not_the_first(self, api: imageapi.ImageAPI) -> None:
        writers, _ = dict_writers(api)
        added = changes.add(writers._replace(is_first=False), QUEUED, image_data(), None)
        (location,) = added.locations
        assert location.store == "file"
        assert location.url == writers.store.backend.locate("i").url

    def test_id_that_exists_is_refused_before_the_data_is_read(
        self, api: imageapi.ImageAPI
    ) -> None:
        writers, _ = dict_writers(api, i=stored_record())
        data = image_data()
        with pytest.raises(WriteError, match="it exists already"):
            changes.add(writers, QUEUED, data, None)
        assert data.digests().size == 0

    @pytest.mark.parametrize(("wanted", "found"), [("0" * 32, MD5), ("0" * 128, SHA512)])
    def test_other_checksum(
        self, api: imageapi.ImageAPI, deployment: Deployment, wanted: str, found: str
    ) -> None:
        writers, records = dict_writers(api)
        told = f"the data has the checksum {found}, not {wanted}"
        with pytest.raises(WriteError, match=told):
            changes.add(writers, QUEUED, image_data(), wanted)
        assert (deployment.file_names(), records.records) == ([], {})

    @pytest.mark.parametrize("is_stored", [False, True])
    def test_record_that_fails_takes_the_data_along(
        self, api: imageapi.ImageAPI, deployment: Deployment, is_stored: bool
    ) -> None:
        writers, records = dict_writers(api)

        def fail(record: bytes) -> None:
            if is_stored:
                records.records["i"] = record
            raise BackendUnavailable("no answer")

        records.at_create = fail
        with pytest.raises(BackendUnavailable):
            changes.add(writers, QUEUED, image_data(), None)
        assert (deployment.file_names(), records.records) == ([], {})

    def test_data_stays_if_another_command_has_changed_our_record(
        self, api: imageapi.ImageAPI, deployment: Deployment
    ) -> None:
        writers, records = dict_writers(api)

        def change_and_fail(record: bytes) -> None:
            records.records["i"] = record.replace(b'"active"', b'"deactivated"')
            raise BackendUnavailable("no answer")

        records.at_create = change_and_fail
        with pytest.raises(BackendUnavailable):
            changes.add(writers, QUEUED, image_data(), None)
        assert records.image().status == "deactivated"
        assert deployment.file_names() == ["i"]


class TestRegister:
    def test_location_is_recorded(self) -> None:
        records = DictRecords()
        changes.register(records, QUEUED, Location("http://host/i"), DIGESTS, MD5)
        assert [location.url for location in records.image().locations] == ["http://host/i"]
        assert (records.image().status, records.image().size) == ("active", 4)

    def test_other_checksum(self) -> None:
        records = DictRecords()
        with pytest.raises(WriteError, match=f"{MD5}, not {'0' * 32}"):
            changes.register(records, QUEUED, Location("http://host/i"), DIGESTS, "0" * 32)
        assert records.records == {}


class TestChange:
    def test_new_values_may_depend_on_the_members(self) -> None:
        records = DictRecords(i=stored_record(members=["p1", "p2"], properties={"a": "b"}))
        changes.change(
            records,
            "i",
            lambda members: {"members": sorted(members - {"p1"})},
            properties={"c": "d"},
            removed_properties=["a"],
        )
        assert records.image().members == {"p2"}
        assert records.image().properties == {"c": "d"}

    def test_record_that_changed_meanwhile(self) -> None:
        records = DictRecords(i=stored_record())
        records.at_replace = lambda: records.records.update(i=stored_record(name="theirs"))
        with pytest.raises(WriteError, match="changed meanwhile"):
            changes.change(records, "i", lambda _: {"name": "ours"})
        assert records.image().name == "theirs"


class TestReplaceData:
    @pytest.mark.parametrize(
        ("fields", "told"),
        [
            ({"protected": True}, "first run 'imageapi set i --no-protected'"),
            ({"status": "deleted"}, "it is deleted: add an image with another id"),
            ({"deleted": True}, "it is deleted: add an image with another id"),
        ],
    )
    def test_image_that_is_refused_before_the_data_is_read(
        self, api: imageapi.ImageAPI, fields: dict[str, Any], told: str
    ) -> None:
        writers, _ = dict_writers(api, i=stored_record(**fields))
        data = image_data()
        with pytest.raises(WriteError, match=told):
            changes.replace_data(writers, api.backends, "i", data, None)
        assert data.digests().size == 0

    def test_old_data_goes_last(self, api: imageapi.ImageAPI, deployment: Deployment) -> None:
        deployment.data_path("i").write_bytes(b"old")
        writers, records = dict_writers(api, i=stored_record(virtual_size=9))
        seen: list[int] = []
        records.at_replace = lambda: seen.append(len(deployment.file_names()))
        changes.replace_data(writers, api.backends, "i", image_data(), MD5)
        (name,) = deployment.file_names()
        assert (seen, records.image().virtual_size) == ([2], None)
        (location,) = records.image().locations
        assert location.url == "file://" + quote(str(deployment.images / name), safe="/+")

    def test_record_that_changed_meanwhile_keeps_the_old_data(
        self, api: imageapi.ImageAPI, deployment: Deployment
    ) -> None:
        deployment.data_path("i").write_bytes(b"old")
        writers, records = dict_writers(api, i=stored_record())
        records.at_replace = lambda: records.records.update(i=stored_record(name="theirs"))
        with pytest.raises(WriteError, match="changed meanwhile"):
            changes.replace_data(writers, api.backends, "i", image_data(), None)
        assert deployment.file_names() == ["i"]
        assert records.image().name == "theirs"


class TestRemove:
    def test_record_goes_first(self, api: imageapi.ImageAPI, deployment: Deployment) -> None:
        deployment.data_path("i").write_bytes(b"data")
        records = DictRecords(i=stored_record())
        seen: list[str] = []
        records.at_remove = lambda: seen.extend(deployment.file_names())
        changes.remove(records, api.backends, "i")
        assert (seen, deployment.file_names()) == (["i"], [])

    def test_record_that_is_written_again_keeps_its_data(
        self, api: imageapi.ImageAPI, deployment: Deployment
    ) -> None:
        deployment.data_path("i").write_bytes(b"data")
        records = DictRecords(i=stored_record())
        records.at_remove = lambda: records.records.update(i=stored_record())
        with pytest.raises(WriteError, match="another command wrote its record"):
            changes.remove(records, api.backends, "i")
        assert deployment.file_names() == ["i"]

    def test_protected_image(self, api: imageapi.ImageAPI) -> None:
        records = DictRecords(i=stored_record(protected=True))
        with pytest.raises(WriteError, match="it is protected"):
            changes.remove(records, api.backends, "i")
        assert "i" in records.records

    def test_data_of_others_stays(
        self, api: imageapi.ImageAPI, deployment: Deployment, caplog: pytest.LogCaptureFixture
    ) -> None:
        (deployment.images / "shared").write_bytes(b"data")
        url = f"file://{deployment.images}/shared"
        records = DictRecords(i=stored_record(location=url))
        changes.remove(records, api.backends, "i")
        assert deployment.file_names() == ["shared"]
        assert "data that others may use is not removed" in caplog.text


def test_image_of_reads_the_record_as_it_is_now() -> None:
    records = DictRecords(i=stored_record(name="first"))
    assert changes.image_of(records, "i").name == "first"
    records.records["i"] = stored_record(name="second")
    assert changes.image_of(records, "i").name == "second"
    with pytest.raises(ImageNotFound):
        changes.image_of(records, "absent")
