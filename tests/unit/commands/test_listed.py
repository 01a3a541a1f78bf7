# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Generator, Iterator

import pytest
from oslo_config import cfg

from imageapi.backends.base import RegistryBackend
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.commands.configured import OPERATOR
from imageapi.commands.listed import Unreadable, ids_of, images_of, known_ids
from imageapi.config.plugins import Loaded
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    ImageAPIError,
    MalformedImage,
)
from imageapi.image import Image
from imageapi.testing.fakes import MemoryRegistry

ALL = ListQuery(all_projects=True)


class HalfMalformedRegistry(MemoryRegistry):
    """Lists a and b; the record of c is malformed, and that of d is gone since its id was read."""

    knows_ids = True

    def image_ids(self) -> Iterator[str] | None:
        return iter("dcba") if self.knows_ids else None

    def get(self, image_id: str, caller: Caller) -> Image:
        if image_id == "c":
            raise MalformedImage("malformed")
        return super().get(image_id, caller)


@pytest.fixture
def backend() -> HalfMalformedRegistry:
    registry = HalfMalformedRegistry(cfg.ConfigOpts(), "")
    for image_id in "ab":
        registry.put(Image(id=image_id, status="active"))
    return registry


def loaded_registry(backend: RegistryBackend) -> Loaded[RegistryBackend]:
    return Loaded("registry", "n", "d", "", "", backend)


class Named(list[str]):
    """The ids of the records that could not be read."""

    def __call__(self, image_id: str, error: BackendError) -> None:
        self.append(image_id)


@pytest.mark.parametrize(
    ("can_list", "knows_ids", "is_whole", "images", "named"),
    [
        (True, True, True, "ba", "c"),
        (True, True, False, "ba", ""),
        (True, False, True, "ba", ""),
        (False, True, True, "ab", "c"),
    ],
)
def test_images_and_what_cannot_be_read(
    backend: HalfMalformedRegistry,
    can_list: bool,
    knows_ids: bool,
    is_whole: bool,
    images: str,
    named: str,
) -> None:
    backend.can_list, backend.knows_ids = can_list, knows_ids
    unreadable = Named()
    found = images_of(loaded_registry(backend), ALL, OPERATOR, unreadable, is_whole=is_whole)
    assert "".join(image.id for image in found) == images
    assert "".join(unreadable) == named


def test_ids(backend: HalfMalformedRegistry) -> None:
    """As far as known, malformed ones too; else those of the list, the oldest first."""
    assert list(ids_of(loaded_registry(backend))) == list("abcd")
    assert sorted(known_ids(loaded_registry(backend)) or ()) == list("abcd")
    backend.knows_ids = False
    assert known_ids(loaded_registry(backend)) is None
    assert list(ids_of(loaded_registry(backend))) == ["a", "b"]
    backend.can_list = False
    with pytest.raises(ConfigurationError):
        ids_of(loaded_registry(backend))


def test_generator_that_is_closed_closes_the_list(
    backend: HalfMalformedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    def endless(query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        try:
            while True:
                yield Image(id="a", status="active")
        finally:
            closed.append(True)

    monkeypatch.setattr(backend, "list", endless)
    found = images_of(loaded_registry(backend), ALL, OPERATOR, Named(), is_whole=True)
    assert next(found).id == "a"
    found.close()
    assert closed == [True]


def failing(error: Exception) -> Callable[..., Generator[Image, None, None]]:
    """A list that fails."""

    def listed(query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        raise error
        yield

    return listed


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BackendUnavailable("no answer"), "registry 'n': no answer"),
        (ValueError("s3cret"), "registry 'n': registry 'n' raised ValueError"),
    ],
)
def test_list_that_fails(
    backend: HalfMalformedRegistry, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    monkeypatch.setattr(backend, "list", failing(error))
    with pytest.raises(ImageAPIError) as refused:
        list(images_of(loaded_registry(backend), ALL, OPERATOR, Named(), is_whole=True))
    assert str(refused.value) == told


def test_unreadable_record_sets_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    unreadable = Unreadable()
    assert unreadable.status == 0
    unreadable("i", MalformedImage("malformed"))
    assert unreadable.status == 1
    assert capsys.readouterr().err == "imageapi: image i: malformed\n"
