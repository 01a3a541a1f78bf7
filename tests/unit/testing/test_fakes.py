# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from pathlib import Path

import pytest

import imageapi
from imageapi.backends.base import Blob
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable, DataNotFound
from imageapi.image import Image
from imageapi.testing.fakes import FailingStore, MemoryRegistry
from imageapi.testing.suite import build
from tests.deployment import get

DATA = bytes(range(250)) * 40


@pytest.fixture
def failing_store() -> Iterator[FailingStore]:
    """A store with DATA, of three chunks, under the id ``i``."""
    store = build(FailingStore)
    store.put("i", DATA)
    yield store
    assert store.open_blobs == 0


def opened_blob(store: FailingStore, start: int = 0, stop: int | None = None) -> Blob:
    return store.open(store.locate("i"), start=start, stop=stop, caller=ANONYMOUS)


def read_until_error(
    store: FailingStore, start: int = 0, stop: int | None = None
) -> tuple[bytes, str]:
    """What is read, and the text of the error that ends it."""
    blob = opened_blob(store, start, stop)
    data = b""
    try:
        for chunk in blob:
            data += chunk
    except BackendUnavailable as error:
        return data, str(error)
    finally:
        blob.close()
    return data, ""


@pytest.mark.parametrize("at", [0, 1, 4095, 4096, 4097, len(DATA) - 1, len(DATA)])
def test_fails_at_a_byte(failing_store: FailingStore, at: int) -> None:
    failing_store.fail(BackendUnavailable("reset"), at=at)
    assert read_until_error(failing_store) == (DATA[:at], "reset")
    assert read_until_error(failing_store) == (DATA, "")


@pytest.mark.parametrize("at", [0, 1, 4096, 5000])
@pytest.mark.parametrize("data", [b"", b"other", b"other" * 5000])
def test_gives_other_bytes(failing_store: FailingStore, at: int, data: bytes) -> None:
    failing_store.give(data, at=at)
    rest = DATA[at + len(data) :] if data else b""
    assert read_until_error(failing_store) == (DATA[:at] + data + rest, "")
    assert read_until_error(failing_store) == (DATA, "")


def test_gives_too_many_bytes(failing_store: FailingStore) -> None:
    failing_store.give(b"more", at=len(DATA))
    assert read_until_error(failing_store) == (DATA + b"more", "")


def test_fault_within_a_part(failing_store: FailingStore) -> None:
    failing_store.fail(BackendUnavailable("reset"), at=5000)
    assert read_until_error(failing_store, 10, 5000) == (DATA[10:5000], "reset")


def test_fails_so_many_times(failing_store: FailingStore) -> None:
    failing_store.fail(BackendUnavailable("reset"), at=10, times=2)
    assert [read_until_error(failing_store)[0] for _ in range(3)] == [DATA[:10], DATA[:10], DATA]


def test_two_faults(failing_store: FailingStore) -> None:
    failing_store.fail(BackendUnavailable("second"), at=20)
    failing_store.fail(BackendUnavailable("first"), at=10)
    assert [read_until_error(failing_store)[1] for _ in range(3)] == ["first", "second", ""]


def test_fails_to_open(failing_store: FailingStore) -> None:
    failing_store.fail(DataNotFound("gone"), times=2)
    for _ in range(2):
        with pytest.raises(DataNotFound, match="gone"):
            opened_blob(failing_store)
    assert read_until_error(failing_store) == (DATA, "")


def test_healed(failing_store: FailingStore) -> None:
    failing_store.fail(BackendUnavailable("reset"), times=99)
    failing_store.fail(BackendUnavailable("reset"), at=0, times=99)
    failing_store.heal()
    assert read_until_error(failing_store) == (DATA, "")


def test_named_in_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "imageapi.conf").write_text("[imageapi]\nregistry = memory\nstores = failing\n")
    api = imageapi.ImageAPI(imageapi.load_config([tmp_path / "imageapi.conf"]))
    registry, store = api.backends.registry.backend, api.backends.stores[0].backend
    assert isinstance(registry, MemoryRegistry)
    assert isinstance(store, FailingStore)
    registry.put(Image(id="i", status="active", is_public=True, size=4))
    store.put("i", b"data")
    assert get(api, "/v1/images/i").body == b"data"
    store.fail(BackendUnavailable("reset"))
    assert get(api, "/v1/images/i").status_code == 503
    api.close()
