# SPDX-License-Identifier: Apache-2.0
from abc import ABC

import pytest
from oslo_config import cfg

from imageapi.backends.base import API_VERSION, Blob, RegistryBackend, StoreBackend
from imageapi.backends.listing import ListQuery
from imageapi.caller import ANONYMOUS, Caller
from imageapi.image import Image, Location
from imageapi.testing.suite import build


class LeastRegistry(RegistryBackend):
    """Defines only what it must."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        pass

    def check(self) -> str:
        return ""

    def get(self, image_id: str, caller: Caller) -> Image:
        return Image(id=image_id, status="active")


class LeastBlob(Blob):
    """Defines only what it must."""

    def __next__(self) -> bytes:
        raise StopIteration

    def close(self) -> None:
        pass


class LeastStore(StoreBackend):
    """Defines only what it must."""

    schemes = frozenset({"least"})

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        pass

    def check(self) -> str:
        return ""

    def locate(self, image_id: str) -> Location:
        raise NotImplementedError

    def open(
        self,
        location: Location,
        *,
        start: int = 0,
        stop: int | None = None,
        version: str | None = None,
        caller: Caller,
    ) -> Blob:
        return LeastBlob()


@pytest.mark.parametrize(
    ("base", "methods"),
    [
        (RegistryBackend, {"__init__", "check", "get"}),
        (StoreBackend, {"__init__", "check", "locate", "open"}),
        (Blob, {"__next__", "close"}),
    ],
)
def test_what_a_subclass_must_define(base: type[ABC], methods: set[str]) -> None:
    assert base.__abstractmethods__ == methods


@pytest.mark.parametrize("backend", [LeastRegistry, LeastStore])
def test_backend_without_options(backend: type[LeastRegistry | LeastStore]) -> None:
    assert list(backend.options()) == []
    assert backend.dependent_options(cfg.ConfigOpts(), "imageapi_any") == {}
    made = build(backend)
    assert (made.api_version, made.checks_at_start) == (1, False)
    assert made.writer() is None
    made.close()
    made.close()


def test_backend_of_the_first_version_is_still_loaded() -> None:
    assert RegistryBackend.api_version <= API_VERSION


def test_registry_leaves_visibility_to_the_core_and_cannot_list() -> None:
    registry = build(LeastRegistry)
    assert (registry.decides_visibility, registry.can_list) == (False, False)
    assert registry.image_ids() is None
    assert registry.get_newest("i", ANONYMOUS) == registry.get("i", ANONYMOUS)
    with pytest.raises(NotImplementedError, match="set can_list only if it can"):
        registry.list(ListQuery(), ANONYMOUS)


def test_store_reads_ranges_and_exposes_no_records() -> None:
    store = build(LeastStore)
    assert store.ranges is True
    assert store.exposes(build(LeastRegistry)) == ""


def test_blob_is_its_own_iterator_and_keeps_its_version() -> None:
    blob = LeastBlob()
    assert iter(blob) is blob
    assert list(blob) == []
    assert (blob.is_settled, blob.is_trusted, blob.preferred_chunk_size) == (True, True, 0)
