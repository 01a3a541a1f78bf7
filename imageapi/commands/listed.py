# SPDX-License-Identifier: Apache-2.0
"""The images of a registry, for the commands that handle many of them."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

from imageapi.backends.base import RegistryBackend
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.commands.configured import OPERATOR
from imageapi.commands.terminal import complain, log_bug
from imageapi.config.plugins import Loaded
from imageapi.errors import (
    BackendError,
    ConfigurationError,
    ImageAPIError,
    ImageNotFound,
    only_backend_errors,
)
from imageapi.image import Image


class Unreadable:
    """Names each record that cannot be read, on standard error.

    :ivar status: the exit status that follows: 1 if there was one.
    """

    status = 0

    def __call__(self, image_id: str, error: BackendError) -> None:
        """Name a record, and what is wrong with it."""
        log_bug(error)
        complain(f"image {image_id}: {error}")
        self.status = 1


def known_ids(registry: Loaded[RegistryBackend]) -> list[str] | None:
    """Return the ids of all records, malformed ones too; None if the registry cannot tell.

    :raises ImageAPIError: the registry is unavailable.
    """
    try:
        with only_backend_errors(registry):
            ids = registry.backend.image_ids()
            return None if ids is None else list(ids)
    except BackendError as error:
        log_bug(error)
        raise ImageAPIError(f"{registry}: {error}") from None


def ids_of(registry: Loaded[RegistryBackend], caller: Caller = OPERATOR) -> Iterable[str]:
    """Return the ids of all records, as far as the registry names them.

    A registry that knows its ids names malformed records too, and the ids are sorted.  Of
    another one, its list is taken, the oldest image first: deleted images and malformed
    records are not in it.

    :raises ConfigurationError: the registry has neither.
    :raises ImageAPIError: the registry is unavailable; also while iterating.
    """
    ids = known_ids(registry)
    if ids is not None:
        return sorted(ids)
    if registry.backend.can_list:
        query = ListQuery(all_projects=True, descending=False, limit=1000)
        return (image.id for image in _listed(registry, query, caller))
    raise ConfigurationError([f"{registry} (driver {registry.driver!r}) cannot list its images"])


def images_of(
    registry: Loaded[RegistryBackend],
    query: ListQuery,
    caller: Caller,
    unreadable: Callable[[str, BackendError], object],
    *,
    is_whole: bool,
) -> Generator[Image, None, None]:
    """Yield the images that a query describes, in its order.

    A registry that only knows its ids is read record by record, and the order is that of
    the ids: `filters.refuse_choice` refuses queries that it cannot answer.

    :param unreadable: is called with the id and the error of each record that cannot be read,
        as far as the registry knows its ids.  A list leaves malformed records out, so they
        are found at its end, among the records that were not in the list.
    :param is_whole: whether all images are wanted.  For a part of a list, no records are
        read that are not in it.
    :raises ConfigurationError: the registry has neither a list nor ids.
    :raises ImageAPIError: the registry is unavailable.
    """
    if not registry.backend.can_list:
        yield from _read(registry, ids_of(registry, caller), caller, unreadable)
        return
    listed = set()
    with closing(_listed(registry, query, caller)) as images:
        for image in images:
            listed.add(image.id)
            yield image
    if is_whole:
        others = (one for one in known_ids(registry) or () if one not in listed)
        for _ in _read(registry, others, caller, unreadable):
            pass  # deleted, or not chosen by the query


def _read(
    registry: Loaded[RegistryBackend],
    ids: Iterable[str],
    caller: Caller,
    unreadable: Callable[[str, BackendError], object],
) -> Iterator[Image]:
    for image_id in ids:
        try:
            with only_backend_errors(registry):
                image = registry.backend.get_newest(image_id, caller)
        except ImageNotFound:
            continue  # removed meanwhile
        except BackendError as error:
            unreadable(image_id, error)
            continue
        yield image


def _listed(
    registry: Loaded[RegistryBackend], query: ListQuery, caller: Caller
) -> Generator[Image, None, None]:
    is_empty = True
    try:
        with only_backend_errors(registry), closing(registry.backend.list(query, caller)) as images:
            for image in images:
                is_empty = False
                yield image
    except BackendError as error:
        log_bug(error)
        raise ImageAPIError(f"{registry}: {error}") from None
    if is_empty and registry.backend.decides_visibility and caller.token is not None:
        # A server that refuses the token hides every image.
        complain(f"warning: {registry} lists no image; it may refuse the token in OS_TOKEN")
