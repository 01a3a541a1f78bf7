# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from typing import Any

import pytest

from imageapi.caller import ANONYMOUS
from imageapi.download.store_choice import DataLocation, UnusableLocation, data_locations_of
from imageapi.errors import BackendError, DataChanged, DataNotFound, ForeignError
from imageapi.image import NO_LOCATION, Image, Location
from tests.deployment import get
from tests.memory import Memory


def chosen(memory: Memory, *locations: Location) -> list[str]:
    """The text for the log of each location's store."""
    image = Image(id="i", status="active", locations=locations)
    return [str(location) for location in data_locations_of(image, memory.api.backends.stores)]


def test_first_store_that_opens_the_scheme_is_chosen(memory: Memory) -> None:
    assert chosen(memory, Location("memory:i"), Location("MEMORY:i")) == ["store 'memory'"] * 2


def test_store_that_the_record_names_is_chosen(memory: Memory) -> None:
    assert chosen(memory, Location("memory:i", store="second")) == ["store 'second'"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (Location("ftp://h/i"), "no store opens a 'ftp' location"),
        (Location("i"), "no store opens a '' location"),
        (Location("memory:i", store="x"), "no store named 'x' opens a 'memory' location"),
        (Location("ftp:i", store="second"), "no store named 'second' opens a 'ftp' location"),
    ],
)
def test_location_without_a_store_says_why(memory: Memory, location: Location, reason: str) -> None:
    image = Image(id="i", status="active", locations=(location,))
    (unusable,) = data_locations_of(image, memory.api.backends.stores)
    mend = "; [imageapi] stores is memory, second: add a store, or correct the location"
    assert unusable == UnusableLocation(location, f"{reason}{mend}")
    assert str(unusable) == "no store"


def test_first_store_locates_an_image_without_locations(memory: Memory) -> None:
    image = Image(id="a b", status="active")
    first = memory.api.backends.stores[0]
    assert data_locations_of(image, memory.api.backends.stores) == [
        DataLocation(first, Location("memory:a%20b"))
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DataNotFound("no such id"), "no such id"),
        (KeyError("secret"), "store 'memory' raised KeyError"),
    ],
)
def test_store_that_cannot_locate_an_image_says_why(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def locate(image_id: str) -> Location:
        raise error

    monkeypatch.setattr(memory.store, "locate", locate)
    image = Image(id="i", status="active")
    assert data_locations_of(image, memory.api.backends.stores) == [UnusableLocation(None, reason)]


@pytest.fixture
def data_location(memory: Memory) -> DataLocation:
    return DataLocation(memory.api.backends.stores[0], memory.store.put("i", b"data"))


def spoilt(memory: Memory, monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> None:
    """Give each Blob that the store opens other attributes; "-" removes one."""
    opens: Callable[..., Any] = memory.store.open

    def open_spoilt(*args: Any, **wanted: Any) -> Any:
        blob = opens(*args, **wanted)
        for name, value in attributes.items():
            delattr(blob, name) if value == "-" else setattr(blob, name, value)
        return blob

    monkeypatch.setattr(memory.store, "open", open_spoilt)


def test_part_is_opened(data_location: DataLocation) -> None:
    blob = data_location.open(1, 3, None, ANONYMOUS)
    assert list(blob) == [b"at"]
    blob.close()


@pytest.mark.parametrize(
    ("attributes", "error", "message"),
    [
        ({"version": "9"}, DataChanged, "another version of the data than requested"),
        ({"total_size": -1}, BackendError, "not negative"),
        ({"total_size": "-"}, ForeignError, r"^store 'memory' raised AttributeError$"),
    ],
)
def test_blob_that_cannot_be_used_is_closed(
    memory: Memory,
    data_location: DataLocation,
    monkeypatch: pytest.MonkeyPatch,
    attributes: dict[str, Any],
    error: type[BackendError],
    message: str,
) -> None:
    spoilt(memory, monkeypatch, **attributes)
    with pytest.raises(error, match=message):
        data_location.open(0, None, "1", ANONYMOUS)
    assert (memory.store.opened, memory.store.open_blobs) == (1, 0)


def test_other_exception_of_a_store_is_replaced(
    memory: Memory, data_location: DataLocation
) -> None:
    bug = KeyError("secret")
    memory.store.fail(bug)
    with pytest.raises(ForeignError, match=r"^store 'memory' raised KeyError$") as raised:
        data_location.open(0, None, None, ANONYMOUS)
    assert raised.value.__cause__ is bug


async def opened_later() -> None:
    """What a store returns whose open() is a coroutine."""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("make", "kind"), [(lambda: None, "NoneType"), (bytes, "bytes"), (opened_later, "coroutine")]
)
def test_store_that_opens_no_blob_is_named_with_what_it_returned(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[], object],
    kind: str,
) -> None:
    memory.put(b"data")
    monkeypatch.setattr(memory.store, "open", lambda *args, **wanted: make())
    assert get(memory.api, "/v1/images/i").status_int == 500
    assert caplog.messages == [f"image 'i': store 'memory': open() must return a Blob, not {kind}"]


def test_image_that_has_no_location_has_no_data(memory: Memory) -> None:
    image = memory.put(b"data", locations=(NO_LOCATION,))
    (unusable,) = data_locations_of(image, memory.api.backends.stores)
    assert unusable == UnusableLocation(None, "the record names no location of data", DataNotFound)
    assert get(memory.api, "/v1/images/i").status_int == 404
