# SPDX-License-Identifier: Apache-2.0
"""What an author defines for `imageapi.testing.list_suite`, and helpers for its cases."""

import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from imageapi.backends.base import RegistryBackend
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.image import Image
from imageapi.testing.registry_hooks import RegistryHooks

ADMIN = Caller(user_id="admin", project_id="admin", roles=("admin",), is_admin=True)

_DAY = datetime(2010, 2, 3, 9, 34, 1, tzinfo=UTC)
# No walk has so many images.
_ENDLESS = 200


def day(number: int) -> datetime:
    """Return a time; a higher number is later."""
    return _DAY + timedelta(days=number)


def public(image_id: str, **values: Any) -> Image:
    """Return a public image with every field by which lists are sorted."""
    usual: dict[str, Any] = {
        "status": "active",
        "name": "name",
        "disk_format": "raw",
        "container_format": "bare",
        "size": 1,
        "created_at": day(0),
        "updated_at": day(0),
        "is_public": True,
    }
    return Image(id=image_id, **(usual | values))


class ListHooks(RegistryHooks, mixin=True):
    """The methods that the author defines come first, and helpers for the cases below them.

    The registry that `make_registry` creates must contain no images.

    :cvar many: the number of images that show whether a list takes too much memory; all
        together they have 48 MiB.  Fewer are faster if each `put` is slow.
    :ivar known: the images that are in the registry, by their ids.
    """

    many = 200

    # Helpers of the cases.

    def setUp(self) -> None:
        super().setUp()
        self.known: dict[str, Image] = {}

    def hold(self, *images: Image) -> list[Image]:
        """Put images, except those that the registry cannot hold; return what was put."""
        self.needs_lists(self.registry)
        held = list(filter(self.can_hold, images))
        for image in held:
            self.put(image)
            self.known[image.id] = image
        return held

    def drop(self, image_id: str) -> None:
        """Remove an image."""
        self.remove(image_id)
        del self.known[image_id]

    def needs_lists(self, registry: RegistryBackend) -> None:
        """Skip the case if a registry says that it cannot list."""
        if not registry.can_list:
            self.skipTest("not tested: can_list is False")

    def begun(self, query: ListQuery, caller: Caller | None = None) -> Generator[Image, None, None]:
        """Return the generator of a list; the case must close it."""
        try:
            images: Any = self.registry.list(query, caller or self.caller)
        except NotImplementedError:
            self.fail(
                "can_list is True, but list() raised NotImplementedError:"
                " define list(), or set can_list = False"
            )
        kind = type(images).__name__
        is_generator = hasattr(images, "__next__") and hasattr(images, "close")
        self.must(is_generator, f"list() must return a generator, not {kind}: write it with yield")
        begun: Generator[Image, None, None] = images
        return begun

    def taken(
        self, query: ListQuery, at_most: int | None = None, caller: Caller | None = None
    ) -> list[Image]:
        """Return the first images of a list, or all of them, and close it."""
        self.needs_lists(self.registry)

        def take() -> list[Image]:
            with closing(self.begun(query, caller)) as images:
                return list(itertools.islice(images, at_most))

        taken = self.works(asked(query), take)
        for image in taken:
            kind = type(image).__name__
            self.must(isinstance(image, Image), f"list() must yield imageapi Images, not {kind}")
        return taken

    def wanted(self, query: ListQuery) -> list[str]:
        """Return the ids that a list must contain, in their order."""
        images = sorted(
            filter(query.matching(), self.known.values()),
            key=query.position,
            reverse=query.descending,
        )
        return [image.id for image in images if query.is_after(query.position(image))]

    def lists(self, query: ListQuery, mend: str, caller: Caller | None = None) -> None:
        """Fail unless a list has the images of the query in its order.

        :param mend: ends the message: what the registry must do.
        :param caller: if given, the upstream may show this caller fewer images.
        """
        got = [image.id for image in self.taken(query, caller=caller)]
        self.are(self.wanted(query), got, asked(query), mend, may_lack=caller is not None)

    def are(
        self, wanted: Sequence[str], got: Sequence[str], what: str, mend: str, *, may_lack: bool
    ) -> None:
        """Fail unless a list has these ids; some may be missing if the upstream hides them."""
        if may_lack and self.registry.decides_visibility:
            wanted = [image_id for image_id in wanted if image_id in got]
        message = f"{what} must yield {_names(wanted)}, but yielded {_names(got)}: {mend}"
        self.must(list(wanted) == list(got), message)

    def walk(
        self, query: ListQuery, size: int, between: Callable[[Image], None] | None = None
    ) -> list[str]:
        """Take all pages of a list, one after the other, and return their ids.

        :param between: is called with the last image of each page.
        """
        ids: list[str] = []
        query = replace(query, limit=size)
        while page := self.taken(query, size):
            ids += [image.id for image in page]
            mend = "the pages never end: begin each page after the marker"
            self.must(len(ids) < _ENDLESS, f"{asked(query)}: {mend}")
            query = replace(query, after=page[-1])
            if between is not None:
                between(page[-1])
        return ids

    def logged(self) -> list[logging.LogRecord]:
        """Return a list that gets every warning and error that is logged from now on."""
        handler = _Lines(logging.WARNING)
        logging.getLogger().addHandler(handler)
        self.addCleanup(logging.getLogger().removeHandler, handler)
        return handler.lines


class _Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record)


def both_ways(**values: Any) -> Iterable[ListQuery]:
    """Return a query in ascending and in descending order."""
    return map(partial(_directed, values), (False, True))


def _directed(values: dict[str, Any], descending: bool) -> ListQuery:
    return ListQuery(descending=descending, **values)


def asked(query: ListQuery) -> str:
    """Return the call of list() for a failure message, with the values that are not usual."""
    usual = ListQuery()
    values = {field.name: getattr(query, field.name) for field in fields(ListQuery)}
    given = [f"{name}={_shown(it)}" for name, it in values.items() if it != getattr(usual, name)]
    return f"list({', '.join(given)})"


def _shown(value: Any) -> str:
    if isinstance(value, Image):
        return f"<{value.id}>"
    if isinstance(value, frozenset):
        return repr(sorted(value))
    if hasattr(value, "items"):
        return "{" + ", ".join(f"{key!r}: {_shown(it)}" for key, it in value.items()) + "}"
    return repr(value)


def _names(ids: Sequence[str]) -> str:
    return ", ".join(ids[:30]) + (" ..." if len(ids) > 30 else "") if ids else "no image"
