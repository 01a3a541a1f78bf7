# SPDX-License-Identifier: Apache-2.0
"""Creates the backends that a configuration names."""

import contextlib
import itertools
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

from oslo_config import cfg

from imageapi.backends.base import Backend, RegistryBackend, StoreBackend
from imageapi.backends.http_client.urls import prefix
from imageapi.cache.settings import CacheSettings
from imageapi.config import cache, entry_points, options, property_protections, serve_options
from imageapi.config.validation import DOLLAR, UNRESOLVED, Sections
from imageapi.errors import ConfigurationError
from imageapi.events.base import EventsBackend
from imageapi.policy.base import PolicyBackend
from imageapi.policy.property_protections import PropertyProtections

LOG = logging.getLogger(__name__)

B = TypeVar("B", bound=Backend)

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Loaded(Generic[B]):
    """A loaded backend, with its name in the configuration.

    :ivar kind: registry, store, policy or events.
    :ivar driver: the name of the entry point.
    :ivar section: the section of its options.
    :ivar distribution: name and version of the entry point's distribution.
    """

    kind: str
    name: str
    driver: str
    section: str
    distribution: str
    backend: B

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True)
class Backends:
    """All backends of a configuration, each loaded once.

    :ivar admin_roles: the roles that make a caller an admin.
    """

    registry: Loaded[RegistryBackend]
    stores: tuple[Loaded[StoreBackend], ...]
    policy: Loaded[PolicyBackend]
    events: tuple[Loaded[EventsBackend], ...] = ()
    cache: CacheSettings | None = None
    protections: PropertyProtections = field(default_factory=PropertyProtections)
    admin_roles: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Loaded[Any]]:
        return iter((self.registry, *self.stores, self.policy, *self.events))

    def close(self) -> None:
        """Close every backend; log the exceptions, and continue with the next."""
        _close(self)


def _close(backends: Iterable[Loaded[Any]]) -> None:
    for loaded in backends:
        try:
            loaded.backend.close()
        except Exception:
            LOG.exception("%s: close() failed", loaded)


def load(conf: cfg.ConfigOpts) -> Backends:
    """Load the backends that a configuration names.

    :param conf: its owner must have called it already; options are registered in it.
    :raises ConfigurationError: contains all problems of the configuration.
    """
    sections = Sections(conf)
    unusable = sections.register(options.GROUP, options.CORE)
    _check_serve(conf, sections)
    has_usable_cache = cache.register(sections)
    loader = _Loader(conf, sections)
    with _defaults_for(conf, unusable):
        core = conf[options.GROUP]
        registries = loader.load_all(_REGISTRY, [core.registry])
        stores = loader.load_all(_STORE, core.stores)
        policies = loader.load_all(_POLICY, [core.policy])
        events = loader.load_all(_EVENTS, core.events) if core.events else []
        deciding = [one.backend for one in policies]
        protections = property_protections.protections_of(conf, deciding, sections)
        drivers = [(one.name, one.driver) for one in stores]
        settings = cache.settings_of(conf, drivers, sections) if has_usable_cache else None
        _check_public_endpoint(core.public_endpoint, sections)
        _check_that_records_stay_hidden(registries, stores, sections)
    sections.report_unknown_options()
    if sections.problems:
        _close([*registries, *stores, *policies, *events])
        raise ConfigurationError(sections.problems)
    return Backends(
        registries[0],
        tuple(stores),
        policies[0],
        tuple(events),
        settings,
        protections,
        tuple(core.admin_roles),
    )


def _check_serve(conf: cfg.ConfigOpts, sections: Sections) -> None:
    """Check the section of ``serve``.

    Only the commands register it.  An application that shares the file with ``serve`` does not
    use its values, but is told of misspelt options.
    """
    check = sections.register if serve_options.GROUP in conf else sections.know
    check(serve_options.GROUP, serve_options.OPTIONS)


@contextlib.contextmanager
def _defaults_for(conf: cfg.ConfigOpts, unusable: Collection[str]) -> Iterator[None]:
    """Use defaults for unusable core options, so that backends can be checked as well."""
    for option in options.CORE:
        if option.dest in unusable:
            conf.set_override(option.dest, option.default, group=options.GROUP)
    try:
        yield
    finally:
        for name in unusable:
            conf.clear_override(name, group=options.GROUP)


def _check_public_endpoint(url: str, sections: Sections) -> None:
    """Check that it is a URL to which a path can be added."""
    try:
        if url:
            prefix(url)
    except ValueError as error:
        problem = "public_endpoint: must be a URL such as https://images.example.com"
        sections.add_problem(options.GROUP, f"{problem}: {error}")


def _check_that_records_stay_hidden(
    registries: Iterable[Loaded[RegistryBackend]],
    stores: Iterable[Loaded[StoreBackend]],
    sections: Sections,
) -> None:
    """Refuse a store that can serve a registry's records, which may hold credentials."""
    for registry, store in itertools.product(registries, stores):
        cause = store.backend.exposes(registry.backend)
        if cause:
            result = f"clients could download the records of [{registry.section}]"
            sections.add_problem(store.section, f"{cause}, so {result}; separate the two")


@dataclass(frozen=True)
class _Kind(Generic[B]):
    """A kind of backends: its name, the option that names the backends, and their base."""

    name: str
    option: str
    base: type[B]


_REGISTRY = _Kind("registry", "registry", RegistryBackend)
_STORE = _Kind("store", "stores", StoreBackend)
_POLICY = _Kind("policy", "policy", PolicyBackend)
_EVENTS = _Kind("events", "events", EventsBackend)


class _Loader:
    """Loads the backends of one configuration."""

    def __init__(self, conf: cfg.ConfigOpts, sections: Sections) -> None:
        self._conf = conf
        self._sections = sections
        self._entry_points = entry_points.installed()

    def load_all(self, kind: _Kind[B], values: Sequence[str]) -> list[Loaded[B]]:
        """Load the backends that the option of a kind names."""
        if not any(values):
            self._add_problem(kind, f"must name a {kind.name}")
            return []
        parsed = [pair for value in values if (pair := self._parse(kind, value))]
        names = [name for name, _ in parsed]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._add_problem(kind, f"names {name!r} twice: give each its own NAME, as NAME:DRIVER")
        loaded = [self._load(kind, name, driver) for name, driver in parsed]
        return [one for one in loaded if one is not None]

    def _add_problem(self, kind: _Kind[Any], cause: str, about: str = "") -> None:
        self._sections.add_problem(options.GROUP, f"{kind.option}: {cause}", about)

    def _parse(self, kind: _Kind[Any], value: str) -> tuple[str, str] | None:
        """Return the name and the driver; if the text is invalid, add a problem."""
        name, colon, driver = value.partition(":")
        if _NAME.fullmatch(name) and (bool(driver) == bool(colon)):
            return name, driver or name
        rule = "must be NAME or NAME:DRIVER, with only letters, digits, - and _ in NAME"
        self._add_problem(kind, f"{value!r} {rule}")
        return None

    def _load(self, kind: _Kind[B], name: str, driver: str) -> Loaded[B] | None:
        section = f"{options.GROUP}_{kind.name}_{name}"
        self._sections.expect(section)
        origin = ""
        try:
            found = entry_points.find(self._entry_points, kind.name, driver)
            distribution = entry_points.distribution_of(found)
            origin = entry_points.origin_of(found, distribution)
            plugin = entry_points.import_backend(found, kind.base)
        except ConfigurationError as error:
            self._add_problem(kind, str(error), origin)
            return None
        backend = self._construct(section, plugin, found, origin)
        if backend is None:
            return None
        return Loaded(kind.name, name, driver, section, distribution, backend)

    def _construct(self, section: str, plugin: type[B], found: EntryPoint, origin: str) -> B | None:
        """Create a backend; if that fails, add the problems."""
        try:
            if self._sections.register(section, plugin.options(), origin):
                return None
            unusable = [
                self._sections.register(group, group_options, origin)
                for group, group_options in plugin.dependent_options(self._conf, section).items()
            ]
            return None if any(unusable) else plugin(self._conf, section)
        except ConfigurationError as error:
            self._sections.refuse(section, error, origin)
            return None
        except UNRESOLVED:
            problem = f"a value {DOLLAR}"
        except cfg.NotInitializedError:
            origin = ""  # the application has this problem, and no plugin
            problem = "the ConfigOpts has not been called yet: call conf([]) first"
        except (Exception, SystemExit) as error:
            hint = entry_points.what_to_install(found, error)
            if not hint:
                LOG.exception("[%s]: %s cannot be created", section, origin)
                # The exception's text may contain an option's value, and so a secret.
                hint = "; see the traceback in the log"
            problem = f"{found.name!r} cannot be created: {type(error).__name__}{hint}"
        self._sections.add_problem(section, problem, origin)
        return None


@dataclass(frozen=True)
class Driver:
    """An installed driver.

    :ivar problem: why it cannot be used; empty if it can.
    """

    kind: str
    name: str
    distribution: str
    options: Sequence[cfg.Opt]
    problem: str


def installed() -> Iterator[Driver]:
    """Find every installed driver, by kind and name."""
    for kind in (_REGISTRY, _STORE, _POLICY, _EVENTS):
        for found in entry_points.of_kind(kind.name):
            options: Sequence[cfg.Opt] = ()
            problem = ""
            try:
                options = entry_points.import_backend(found, kind.base).options()
            except ConfigurationError as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001 - a plugin may raise any
                problem = f"its options cannot be read: {type(error).__name__}: {error}"
            distribution = entry_points.distribution_of(found)
            yield Driver(kind.name, found.name, distribution, options, problem)
