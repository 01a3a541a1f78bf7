# SPDX-License-Identifier: Apache-2.0
"""Registries whose lists have one fault each, for `test_list_suite_catches`."""

import itertools
import logging
import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from oslo_config import cfg

from imageapi.backends.listing import GONE, ListQuery
from imageapi.caller import Caller
from imageapi.errors import BackendUnavailable, BadReply, MalformedImage
from imageapi.image import Image
from imageapi.protocol.value_text import in_utc
from imageapi.testing.fakes import MemoryRegistry

LOG = logging.getLogger(__name__)

# Within the class, ``list`` is its method.
Images: TypeAlias = list[Image]

# Lets another thread run at the point where a race does harm.
_A_MOMENT = 0.001


class Listing(MemoryRegistry):
    """A correct registry, from which those with faults derive."""

    reachable = True

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.malformed: set[str] = set()

    def check(self) -> str:
        if not self.reachable:
            raise BackendUnavailable("nobody there")
        return super().check()

    def get(self, image_id: str, caller: Caller) -> Image:
        if not self.reachable:
            raise BackendUnavailable("nobody there")
        if image_id in self.malformed:
            raise MalformedImage("no JSON")
        return super().get(image_id, caller)

    def release(self) -> None:
        """End what the fault leaves; called after each case."""

    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        if not self.reachable:
            raise BackendUnavailable("nobody there")
        for image_id in self.malformed:
            self.found_malformed(image_id)
        images = self.sorted(query, [one for one in self.images() if self.has(query, one)])
        yield from self.page(query, images)

    def found_malformed(self, image_id: str) -> None:
        LOG.warning("%s is malformed", image_id)

    def images(self) -> Sequence[Image]:
        return tuple(self._images.values())

    def has(self, query: ListQuery, image: Image) -> bool:
        return query.matching()(image)

    def sorted(self, query: ListQuery, images: Iterable[Image]) -> Images:
        return sorted(images, key=partial(self.place, query), reverse=query.descending)

    def place(self, query: ListQuery, image: Image) -> Any:
        return query.position(image)

    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        return (image for image in images if query.is_after(query.position(image)))


# What list() says of itself, and what it yields.


class CannotListAfterAll(Listing):
    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        raise NotImplementedError


class ListsInSecret(Listing):
    can_list = False


class ReturnsList(Listing):
    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        return list(super().list(query, caller))  # type: ignore[return-value]  # the fault


class YieldsIds(Listing):
    def page(self, query: ListQuery, images: Images) -> Any:
        return (image.id for image in images)


class IsNeverEmpty(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        return super().page(query, images) if images else [Image(id="example", status="active")]


class NeedsFirst(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        return [images[0], *images[1:]]


class ForgetsMembers(Listing):
    def images(self) -> Sequence[Image]:
        return [replace(image, members=frozenset()) for image in super().images()]


class YieldsSummaries(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        return (replace(image, properties={}) for image in super().page(query, images))


class ListsPropertiesOfFirst(Listing):
    """Yields the properties of the first image for all."""

    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        page = tuple(super().page(query, images))
        return (replace(image, properties=page[0].properties) for image in page)


# Order.


class SortsByCreation(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        return replace(query, sort_key="created_at").position(image)


class IgnoresDirection(Listing):
    def sorted(self, query: ListQuery, images: Iterable[Image]) -> Images:
        return super().sorted(replace(query, descending=True), images)


class LeavesTies(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        return query.position(image)[:2]


class BreaksTiesById(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        return (*query.position(image)[:2], image.id)


class BreaksTiesAscending(Listing):
    def sorted(self, query: ListQuery, images: Iterable[Image]) -> Images:
        by_id = sorted(images, key=lambda image: query.position(image)[2:])
        return sorted(by_id, key=lambda it: query.position(it)[:2], reverse=query.descending)


class NullsHighest(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        there, *rest = query.position(image)
        return (not there, *rest)


class EmptyIsNull(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        return query.position(replace(image, name=image.name or ""))


class ZeroIsNull(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        return query.position(replace(image, size=image.size or 0))


class NullMarkerIsEmpty(Listing):
    """Its order is right, but its pages take a missing name for an empty one, as Glance does."""

    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        if query.after is not None and query.after.name is None:
            query = replace(query, after=replace(query.after, name=""))
        return super().page(query, images)


class IgnoresCaseInOrder(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        return query.position(replace(image, name=image.name and image.name.lower()))


class SortsAsInGermany(Listing):
    """Umlauts stand beside their letters."""

    def place(self, query: ListQuery, image: Image) -> Any:
        name = (image.name or "").replace("\N{LATIN CAPITAL LETTER U WITH DIAERESIS}", "u")
        return query.position(replace(image, name=name))


class SortsAsUTF16(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        name = (image.name or "").encode("utf-16-be").decode("latin-1")
        return query.position(replace(image, name=name))


class ComparesTimesWithZones(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        return image.created_at is not None, image.created_at, image.id


class DropsZones(Listing):
    def place(self, query: ListQuery, image: Image) -> Any:
        created = image.created_at
        there = created is not None and created.tzinfo is not None
        return query.position(image)[0], there, query.position(image)


# Filters.


class FindsOtherwise(Listing):
    """Looks at other values, or asks for others, than it was told to."""

    def has(self, query: ListQuery, image: Image) -> bool:
        return super().has(self.taken_for(query), self.seen_as(image))

    def taken_for(self, query: ListQuery) -> ListQuery:
        return query

    def seen_as(self, image: Image) -> Image:
        return image


class FindsInAnyCase(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        texts = {key: frozenset(map(str.lower, value)) for key, value in query.texts.items()}
        return replace(query, texts=texts)

    def seen_as(self, image: Image) -> Image:
        return replace(image, name=image.name and image.name.lower())


class FindsNullAsEmpty(FindsOtherwise):
    def seen_as(self, image: Image) -> Image:
        return replace(image, name=image.name or "")


class FindsParts(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        parts = query.texts.get("name", [image.name])
        others = {name: texts for name, texts in query.texts.items() if name != "name"}
        found = any(part is None or part in (image.name or "") for part in parts)
        return found and super().has(replace(query, texts=others), image)


class TakesFirstText(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        return replace(
            query, texts={key: frozenset(sorted(it)[:1]) for key, it in query.texts.items()}
        )


class EmptyFindsAll(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        return replace(query, texts={key: it for key, it in query.texts.items() if it})


class AtLeastMinRam(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        enough = all(getattr(image, name) >= number for name, number in query.numbers.items())
        return enough and super().has(replace(query, numbers={}), image)


class IgnoresZero(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        return replace(query, numbers={key: it for key, it in query.numbers.items() if it})


class SizeMinExclusive(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        return replace(query, size_min=None if query.size_min is None else query.size_min + 1)


class SizeMaxExclusive(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        return replace(query, size_max=None if query.size_max is None else query.size_max - 1)


class UnknownSizeIsZero(FindsOtherwise):
    def seen_as(self, image: Image) -> Image:
        return replace(image, size=image.size or 0)


class FalseIsNoFilter(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        return replace(query, protected=query.protected or None)


class ComparesProperties(FindsOtherwise):
    """Compares with str()."""

    def has(self, query: ListQuery, image: Image) -> bool:
        texts = {name: str(value) for name, value in image.properties.items()}
        return super().has(query, replace(image, properties=texts))


class ComparesValues(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        asked = query.properties.items()
        equal = all(image.properties.get(name) == value for name, value in asked)
        return equal and super().has(replace(query, properties={}), image)


class LowersAskedNames(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        texts = {name.lower(): text for name, text in query.properties.items()}
        return replace(query, properties=texts)


class FieldsAreProperties(FindsOtherwise):
    def seen_as(self, image: Image) -> Image:
        return replace(image, properties={"id": image.id, **image.properties})


class ChangedAtOrAfter(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        after = query.changed_after
        same = after is not None and image.updated_at and in_utc(image.updated_at) == after
        return super().has(replace(query, changed_after=None) if same else query, image)


class NeverChangedIsNew(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        is_new = image.updated_at is None
        return super().has(replace(query, changed_after=None) if is_new else query, image)


class AnyConditionWillDo(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        asked = [
            {name: getattr(query, name)}
            for name in ("texts", "numbers", "properties", "protected", "size_min", "size_max")
            if getattr(query, name) not in (None, {})
        ]
        queries: list[Any] = [ListQuery(**one) for one in asked] or [query]
        return any(super(FindsOtherwise, self).has(one, image) for one in queries)


class LooksAtFirstProperty(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        return replace(query, properties=dict(list(query.properties.items())[:1]))


class ListsDeleted(FindsOtherwise):
    def seen_as(self, image: Image) -> Image:
        return replace(image, status="active") if image.status == "deleted" else image


class ListsKilled(FindsOtherwise):
    def seen_as(self, image: Image) -> Image:
        return replace(image, status="active") if image.status == "killed" else image


class IgnoresDeletedFlag(FindsOtherwise):
    def seen_as(self, image: Image) -> Image:
        return replace(image, deleted=False)


class NeverListsDeleted(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        return image.status not in GONE and super().has(query, image)


class ListsPublicOnly(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        return image.is_public and super().has(query, image)


class ForgetsShared(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        own = image.is_public or image.owner == query.project_id or query.all_projects
        return own and super().has(query, image)


class EmptyProjectOwns(FindsOtherwise):
    def has(self, query: ListQuery, image: Image) -> bool:
        is_own = image.owner == query.project_id == ""
        return super().has(replace(query, all_projects=True) if is_own else query, image)


class AdminSeesAll(FindsOtherwise):
    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        everything = query.all_projects or caller.is_admin
        return super().list(replace(query, all_projects=everything), caller)


class IgnoresIsPublic(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        return replace(query, is_public=None)


class IgnoresSharedWith(FindsOtherwise):
    def taken_for(self, query: ListQuery) -> ListQuery:
        return replace(query, shared_with=None)


# Pages.


class RepeatsMarker(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        marker = [image for image in images if query.after and image.id == query.after.id]
        return [*marker, *super().page(query, images)]


class SearchesMarker(Listing):
    """Begins at the beginning if the marker is not in the list."""

    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        ids = [image.id for image in images]
        marker = query.after.id if query.after else None
        return images[ids.index(marker) + 1 :] if marker in ids else images


class EndsWithoutMarker(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        ids = {image.id for image in images}
        lost = query.after is not None and query.after.id not in ids
        return [] if lost else super().page(query, images)


class ForgetsRemovedMarker(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        gone = query.after is not None and query.after.id not in self._images
        return images if gone else super().page(query, images)


class RefusesRemovedMarker(Listing):
    """Correct: an upstream may refuse it."""

    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        if query.after is not None and query.after.id not in self._images:
            raise BadReply("400")
        return super().page(query, images)


class ComparesSortKeyOnly(Listing):
    """Loses the images that have the marker's value."""

    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        if query.after is None:
            return images
        begin = query.position(query.after)[:2]
        here = [query.position(image)[:2] for image in images]
        return [
            image
            for image, place in zip(images, here, strict=True)
            if (place < begin if query.descending else place > begin)
        ]


class EndsAtLimit(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        return itertools.islice(super().page(query, images), query.limit)


class CountsPages(Listing):
    """Remembers at which number a page ended."""

    def page(self, query: ListQuery, images: Images) -> Iterator[Image]:
        begin = 0 if query.after is None else self.numbers.get(query.after.id, 0)
        self.numbers: dict[str, int] = {} if query.after is None else self.numbers
        for number, image in enumerate(images[begin:], begin + 1):
            self.numbers[image.id] = number
            yield image


# Changes, faults, and what stays open.


class ListsOldImages(Listing):
    remembered: Sequence[Image] = ()

    def images(self) -> Sequence[Image]:
        self.remembered = self.remembered or super().images()
        return self.remembered


class RemembersOrder(Listing):
    """Sees new and removed images, but keeps an image where it was."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.places: dict[str, Any] = {}

    def place(self, query: ListQuery, image: Image) -> Any:
        return self.places.setdefault(image.id, query.position(image))


class BreaksAtMalformed(Listing):
    def found_malformed(self, image_id: str) -> None:
        raise MalformedImage("no JSON")


class SaysNothingOfMalformed(Listing):
    def found_malformed(self, image_id: str) -> None:
        pass


class IsEmptyWhenUnreachable(Listing):
    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        if self.reachable:
            yield from super().list(query, caller)


class ListTellsToken(Listing):
    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        if not self.reachable:
            raise BackendUnavailable(f"not reached with {caller.token}")
        return super().list(query, caller)


class HasOneCursor(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterator[Image]:
        self.cursor = iter(list(super().page(query, images)))
        while (image := next(self.cursor, None)) is not None:
            yield image


class LeaksWhenClosed(Listing):
    """Closes its descriptor only at the end of the list."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.left: set[int] = set()

    def page(self, query: ListQuery, images: Images) -> Iterator[Image]:
        descriptor = os.open("/dev/null", os.O_RDONLY)
        self.left.add(descriptor)
        yield from super().page(query, images)
        self.left.remove(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        while self.left:
            os.close(self.left.pop())


class LeavesThreads(Listing):
    """Leaves a thread for each list."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.ended = threading.Event()

    def page(self, query: ListQuery, images: Images) -> Iterator[Image]:
        threading.Thread(target=self.ended.wait, daemon=True).start()
        yield from super().page(query, images)

    def close(self) -> None:
        self.ended.set()


class LeavesThreadAfterClose(Listing):
    """Has one thread, which close() does not end."""

    thread: threading.Thread | None = None

    def page(self, query: ListQuery, images: Images) -> Iterator[Image]:
        if self.thread is None:
            self.ended = threading.Event()
            self.thread = threading.Thread(target=self.ended.wait, daemon=True)
            self.thread.start()
        yield from super().page(query, images)

    def release(self) -> None:
        if self.thread is not None:
            self.ended.set()


class KeepsListConnection(Listing):
    """Has one descriptor, which close() does not close."""

    descriptor: int | None = None

    def page(self, query: ListQuery, images: Images) -> Iterator[Image]:
        if self.descriptor is None:
            self.descriptor = os.open("/dev/null", os.O_RDONLY)
        yield from super().page(query, images)

    def release(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


class ReadsAllFirst(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterable[Image]:
        return [_reread(image) for image in super().page(query, images)]


class KeepsAll(Listing):
    def page(self, query: ListQuery, images: Images) -> Iterator[Image]:
        kept = []
        for image in super().page(query, images):
            kept.append(_reread(image))
            yield kept[-1]


def _reread(image: Image) -> Image:
    """The image with texts of its own, as if it was parsed."""
    return replace(image, properties={k: f"{v} "[:-1] for k, v in image.properties.items()})


class SharesQuery(Listing):
    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        self.query = query
        time.sleep(_A_MOMENT)
        yield from super().list(self.query, caller)


class ListFailsAfterFork(Listing):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.process = os.getpid()

    def images(self) -> Sequence[Image]:
        if os.getpid() != self.process:
            raise BackendUnavailable("a socket that somebody else reads from")
        return super().images()
