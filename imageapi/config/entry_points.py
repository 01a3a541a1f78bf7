# SPDX-License-Identifier: Apache-2.0
"""Finds the entry points of backends, and imports them.  No other module imports stevedore."""

import importlib.metadata
import logging
import re
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any, Protocol, TypeVar

from stevedore.extension import ExtensionManager

from imageapi.backends.base import API_VERSION, Backend, StoreBackend
from imageapi.config.validation import nearest_of
from imageapi.errors import ConfigurationError

LOG = logging.getLogger(__name__)

B = TypeVar("B", bound=Backend)

_KINDS = ("registry", "store", "policy", "events")


class Installed(Protocol):
    """All entry points; to find them takes longer than to load a service of files."""

    def select(self, *, group: str) -> EntryPoints:
        """Return those of a group."""


def installed() -> Installed:
    """Return the entry points of all installed distributions, as they are now."""
    return importlib.metadata.entry_points()


def find(entry_points: Installed, kind: str, driver: str) -> EntryPoint:
    """Return the entry point of a backend.

    :param kind: registry, store, policy or events.
    :param driver: the name of the entry point.
    :raises ConfigurationError: no installed distribution has it, or several have.
    """
    available = entry_points.select(group=f"imageapi.{kind}")
    found = [entry_point for entry_point in available if entry_point.name == driver]
    what = "an events backend" if kind == "events" else f"a {kind}"
    if len(found) == 1:
        return found[0]
    if found:
        cause = (
            f"several distributions provide {what} named {driver!r}:"
            f" {' and '.join(map(origin_of, found))};"
            " uninstall all but one, or rename its entry point"
        )
    else:
        names = sorted(entry_point.name for entry_point in available)
        hint = nearest_of(driver, names) or _other_kind(entry_points, driver)
        cause = (
            f"no installed distribution provides {what} named {driver!r}{hint};"
            f" available: {', '.join(names)}"
        )
    raise ConfigurationError([cause])


def of_kind(kind: str) -> list[EntryPoint]:
    """Return all entry points of a kind, sorted by name."""
    found = importlib.metadata.entry_points(group=f"imageapi.{kind}")
    return sorted(found, key=lambda one: one.name)


def _other_kind(entry_points: Installed, driver: str) -> str:
    """Return a hint that another kind of backend has that name; empty if none has."""
    for kind in _KINDS:
        if driver in entry_points.select(group=f"imageapi.{kind}").names:
            return f" (that is the name of a {kind})"
    return ""


def import_backend(found: EntryPoint, base: type[B]) -> type[B]:
    """Import the class that an entry point names.

    :param base: the class from which it must be derived.
    :raises ConfigurationError: it cannot be imported, or is not a usable backend.
    """
    try:
        plugin: type[B] = _Import(found).extensions[0].plugin
    except (Exception, SystemExit) as error:
        hint = what_to_install(found, error)
        if not hint:
            LOG.exception("%s cannot be imported", origin_of(found))
        cause = f"cannot be imported: {type(error).__name__}: {error}{hint}"
    else:
        cause = _unfit(plugin, base)
        if not cause:
            return plugin
    raise ConfigurationError([f"{found.name!r} {cause}"])


class _Import(ExtensionManager):  # type: ignore[type-arg]  # not generic in stevedore 5.0
    """Imports the one entry point that was found.

    stevedore's own search would also import others of the same name.  It also
    caches, in a file of the user, which entry points were installed a minute ago.
    """

    def __init__(self, found: EntryPoint) -> None:
        self._found = found
        super().__init__(found.group, on_load_failure_callback=_raise)

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._found]


def _raise(_manager: object, _entry_point: EntryPoint, error: BaseException) -> None:
    raise error


def _unfit(plugin: Any, base: type[Backend]) -> str:
    """Return why the object of an entry point is not a usable backend; empty if it is."""
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        return f"is not a class derived from {base.__module__}.{base.__name__}"
    lacking = sorted(getattr(plugin, "__abstractmethods__", ()))
    if lacking:
        return f"does not define {', '.join(lacking)}"
    if type(plugin.api_version) is not int:
        found = f"{plugin.api_version!r:.100}"
        return f"must define api_version as a whole number such as {API_VERSION}, not {found}"
    if plugin.api_version > API_VERSION:
        wants = f"needs version {plugin.api_version} of the backend interface"
        return f"{wants}, but this imageapi has version {API_VERSION}: upgrade imageapi"
    if issubclass(plugin, StoreBackend) and not _are_schemes(getattr(plugin, "schemes", None)):
        return "must define schemes: a frozenset of the URL schemes that it opens, in lower case"
    return ""


def _are_schemes(value: object) -> bool:
    return (
        isinstance(value, frozenset)
        and bool(value)
        and all(isinstance(one, str) and one and one == one.lower() for one in value)
    )


def what_to_install(found: EntryPoint, error: BaseException) -> str:
    """Return a hint to install a missing extra: one of the entry point, or one of its name.

    :param error: the exception that importing or creating the backend raised.
    :returns: the command, after a semicolon; empty if no extra is missing.
    """
    if not isinstance(error, ModuleNotFoundError) or found.dist is None:
        return ""
    missing = (error.name or "").partition(".")[0]
    if missing == found.module.partition(".")[0]:
        return ""
    offered = {_normalized(extra) for extra in found.dist.metadata.get_all("Provides-Extra") or ()}
    for extra in map(_normalized, (*found.extras, found.name)):
        if extra in offered:
            return f"; pip install '{found.dist.name}[{extra}]'"
    return ""


def _normalized(extra: str) -> str:
    """Normalize the name of an extra for comparison (PEP 685)."""
    return re.sub(r"[-_.]+", "-", extra).lower()


def origin_of(found: EntryPoint, distribution: str = "") -> str:
    """Return the entry point and its distribution, for a problem's text.

    :param distribution: the result of `distribution_of`, if it is known.
    """
    about = f"entry point {found.group} {found.name} = {found.value}"
    return f"{about} of {distribution or distribution_of(found)}"


def distribution_of(found: EntryPoint) -> str:
    """Return the name and version of an entry point's distribution."""
    if not found.dist:
        return "an unknown distribution"
    # Each use of metadata reads and parses its file.
    metadata = found.dist.metadata
    return f"{metadata['Name']} {metadata['Version']}"
