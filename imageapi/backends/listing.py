# SPDX-License-Identifier: Apache-2.0
"""What a registry is asked when clients list images (docs/wire.md, Lists)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from imageapi.image import Image
from imageapi.protocol.value_text import in_utc, text_of

#: The fields by which a list can be sorted.
SORT_KEYS = (
    *("name", "status", "container_format", "disk_format"),
    *("size", "id", "created_at", "updated_at"),
)

#: The statuses of images that a list contains only with `ListQuery.shows_deleted`.
GONE = frozenset({"deleted", "pending_delete", "killed"})

#: Where an image stands in an order; positions of one query can be compared with ``<``.
Position: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class ListQuery:
    """Which images a list contains, in which order, and after which one it begins.

    All conditions must hold.  With the default values, a list contains every public
    image that is not deleted, the newest first.

    :ivar all_projects: whether images of every project are listed.
    :ivar project_id: if not all_projects, the images that this project owns, or that
        are shared with it, are listed besides the public ones.  None for nobody.
    :ivar shared_with: if set, only images that are shared with this project.
    :ivar is_public: if set, only public images (True), or only others (False).
    :ivar shows_deleted: whether deleted images and those with a status of `GONE` are
        listed too.
    :ivar texts: the allowed values of ``name``, ``status``, ``container_format`` and
        ``disk_format``, by these names.
    :ivar numbers: the value of ``min_ram`` (MiB) and ``min_disk`` (GiB), by these names.
    :ivar size_min, size_max: bounds of the size in bytes, both included.  An image
        without a size is not within bounds.
    :ivar protected: if set, the value of ``protected``.
    :ivar properties: the texts of properties, by their exact names.
    :ivar changed_after: in UTC, without a zone.  If set, only images with a later
        ``updated_at``.
    :ivar sort_key: one of `SORT_KEYS`.
    :ivar descending: whether the highest value is first.
    :ivar after: the image after whose position the list begins; None for the whole list.
    :ivar limit: how many images the caller of the registry probably takes.  It may take
        more: a registry must not end the list there.
    """

    all_projects: bool = False
    project_id: str | None = None
    shared_with: str | None = None
    is_public: bool | None = None
    shows_deleted: bool = False
    texts: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    numbers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    size_min: int | None = None
    size_max: int | None = None
    protected: bool | None = None
    properties: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    changed_after: datetime | None = None
    sort_key: str = "created_at"
    descending: bool = True
    after: Image | None = None
    limit: int = 25

    def position(self, image: Any) -> Position:
        """Return where an image stands in ascending order of `sort_key`.

        Images with equal values follow one another by created_at, then by id.  A missing
        value is lower than any other.  Texts are compared by code point, times in UTC.

        :param image: an `Image`, or an object with its fields of `SORT_KEYS`.
        """
        return (*_place(image, self.sort_key), *_place(image, "created_at"), image.id)

    def is_after(self, position: Position) -> bool:
        """Whether a position comes after that of `after`; True without an `after`."""
        if self.after is None:
            return True
        begin = self.position(self.after)
        return position < begin if self.descending else position > begin

    def matching(self) -> Callable[[Image], bool]:
        """Return a function that tells whether the list contains an image.

        The function does not look at the order: see `is_after`.
        """
        conditions = self.conditions()
        return lambda image: all(condition(image) for condition in conditions)

    def conditions(self) -> Sequence[Callable[[Any], bool]]:
        """Return the functions that are all true for an image that the list contains.

        They take an `Image`, or an object with its fields.  Only those for `properties`
        look at its properties.
        """
        equal = {"is_public": self.is_public, "protected": self.protected, **self.numbers}
        has_bounds = self.size_min is not None or self.size_max is not None
        optional = (
            (not self.shows_deleted, _is_there),
            (not self.all_projects, self._is_for_project),
            (self.shared_with is not None, self._is_shared),
            (has_bounds, self._is_within_bounds),
            (self.changed_after is not None, self._is_changed),
        )
        return [
            *(condition for applies, condition in optional if applies),
            *(_equal(name, value) for name, value in equal.items() if value is not None),
            *(_one_of(name, texts) for name, texts in self.texts.items()),
            *(_has_property(name, text) for name, text in self.properties.items()),
        ]

    def _is_for_project(self, image: Image) -> bool:
        project = self.project_id
        return image.is_public or (
            bool(project) and (project == image.owner or project in image.members)
        )

    def _is_shared(self, image: Image) -> bool:
        return self.shared_with in image.members

    def _is_within_bounds(self, image: Image) -> bool:
        size = image.size
        return (
            size is not None
            and (self.size_min is None or size >= self.size_min)
            and (self.size_max is None or size <= self.size_max)
        )

    def _is_changed(self, image: Image) -> bool:
        changed = image.updated_at
        after = self.changed_after
        return changed is not None and after is not None and in_utc(changed) > after


def _is_there(image: Image) -> bool:
    return not image.deleted and image.status not in GONE


def _place(image: Image, name: str) -> tuple[Any, ...]:
    value = getattr(image, name)
    if isinstance(value, datetime):
        value = in_utc(value)
    # Both have two items, so that what follows them is compared with its like.
    return (False, "") if value is None else (True, value)


def _one_of(name: str, texts: frozenset[str]) -> Callable[[Image], bool]:
    return lambda image: getattr(image, name) in texts


def _equal(name: str, value: int) -> Callable[[Image], bool]:
    return lambda image: bool(getattr(image, name) == value)


def _has_property(name: str, text: str) -> Callable[[Image], bool]:
    def has(image: Image) -> bool:
        value = image.properties.get(name)
        return value is not None and text_of(value) == text

    return has
