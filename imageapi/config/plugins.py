# SPDX-License-Identifier: Apache-2.0
"""Names in the configuration -> backends.  No other module imports stevedore."""

import contextlib
import importlib.metadata
import itertools
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from oslo_config import cfg
from stevedore.extension import ExtensionManager

from imageapi.backends.base import API_VERSION, Backend, RegistryBackend, StoreBackend
from imageapi.backends.http_client.urls import prefix
from imageapi.config import options
from imageapi.config.validation import DOLLAR, UNRESOLVED, Sections, nearest_of
from imageapi.errors import ConfigurationError
from imageapi.policy.base import PolicyBackend

if TYPE_CHECKING:
    _ExtensionManager = ExtensionManager[Any]
else:
    # Generic only in later versions.
    _ExtensionManager = ExtensionManager

LOG = logging.getLogger(__name__)

B = TypeVar("B", bound=Backend)

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Loaded(Generic[B]):
    """A loaded backend, with its name in the configuration.

    :ivar kind: registry, store or policy.
    :ivar driver: the name of the entry point.
    :ivar distribution: name and version of the entry point's distribution.
    """

    kind: str
    name: str
    driver: str
    distribution: str
    backend: B

    @property
    def section(self) -> str:
        """The section of its options."""
        return _section(self.kind, self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


def _section(kind: str, name: str) -> str:
    return f"{options.GROUP}_{kind}_{name}"


@dataclass(frozen=True)
class Backends:
    """All backends of a configuration, each loaded once."""

    registry: Loaded[RegistryBackend]
    stores: tuple[Loaded[StoreBackend], ...]
    policy: Loaded[PolicyBackend]

    def __iter__(self) -> Iterator[Loaded[Any]]:
        return iter((self.registry, *self.stores, self.policy))

    def close(self) -> None:
        """Close every backend; log the exceptions, and continue with the next."""
        _close(self)


def _close(backends: Iterable[Loaded[Any]]) -> None:
    for loaded in backends:
        try:
            loaded.backend.close()
        except Exception:
            LOG.exception("%s: close() failed", loaded)


@dataclass(frozen=True)
class _Kind(Generic[B]):
    """The differences between the three kinds of backends."""

    name: str
    option: str
    base: type[B]


_REGISTRY = _Kind("registry", "registry", RegistryBackend)
_STORE = _Kind("store", "stores", StoreBackend)
_POLICY = _Kind("policy", "policy", PolicyBackend)


class _Spec(NamedTuple):
    name: str
    driver: str


def load(conf: cfg.ConfigOpts) -> Backends:
    """Load the backends that a configuration names.

    :param conf: its owner must have called it already; options are registered in it.
    :raises ConfigurationError: contains all problems of the configuration.
    """
    sections = Sections(conf)
    unusable = sections.register(options.GROUP, options.CORE)
    loader = _Loader(conf, sections)
    with _defaults_for(conf, unusable):
        core = conf[options.GROUP]
        registries = loader.load_all(_REGISTRY, [core.registry])
        stores = loader.load_all(_STORE, core.stores)
        policies = loader.load_all(_POLICY, [core.policy])
        _check_public_endpoint(core.public_endpoint, sections)
        _check_that_records_stay_hidden(registries, stores, sections)
    sections.report_unknown_options()
    if sections.problems:
        _close([*registries, *stores, *policies])
        raise ConfigurationError(sections.problems)
    return Backends(registries[0], tuple(stores), policies[0])


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
            message = (
                f"clients could download the records of [{registry.section}]; separate the two"
            )
            sections.add_problem(store.section, f"{cause}, so {message}")


class _Loader:
    """Loads the backends of one configuration."""

    def __init__(self, conf: cfg.ConfigOpts, sections: Sections) -> None:
        self._conf = conf
        self._sections = sections

    def load_all(self, kind: _Kind[B], specs: Sequence[str]) -> list[Loaded[B]]:
        """Load the backends that the option of a kind names."""
        if not any(specs):
            self._add_problem(kind, f"must name a {kind.name}")
            return []
        parsed = [spec for text in specs if (spec := self._parse(kind, text))]
        names = [spec.name for spec in parsed]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._add_problem(kind, f"names {name!r} twice: give each its own NAME, as NAME:DRIVER")
        loaded = [self._load(kind, spec) for spec in parsed]
        return [one for one in loaded if one is not None]

    def _add_problem(self, kind: _Kind[Any], cause: str, about: str = "") -> None:
        self._sections.add_problem(options.GROUP, f"{kind.option}: {cause}", about)

    def _parse(self, kind: _Kind[Any], text: str) -> _Spec | None:
        name, colon, driver = text.partition(":")
        if _NAME.fullmatch(name) and (bool(driver) == bool(colon)):
            return _Spec(name, driver or name)
        self._add_problem(
            kind,
            f"{text!r} must be NAME or NAME:DRIVER, with only letters, digits, - and _ in NAME",
        )
        return None

    def _load(self, kind: _Kind[B], spec: _Spec) -> Loaded[B] | None:
        group = _section(kind.name, spec.name)
        self._sections.expect(group)
        found = self._find(kind, spec.driver)
        if found is None:
            return None
        plugin = self._import(kind, found)
        if plugin is None:
            return None
        cause = _unfit(plugin, kind.base)
        if cause:
            self._add_problem(kind, f"{spec.driver!r} {cause}", _origin(found))
            return None
        backend = self._construct(group, plugin, found)
        if backend is None:
            return None
        return Loaded(kind.name, spec.name, spec.driver, _distribution(found), backend)

    def _find(self, kind: _Kind[Any], driver: str) -> EntryPoint | None:
        entry_points = importlib.metadata.entry_points(group=f"imageapi.{kind.name}")
        found = [entry_point for entry_point in entry_points if entry_point.name == driver]
        if len(found) == 1:
            return found[0]
        if found:
            several = " and ".join(_origin(entry_point) for entry_point in found)
            self._add_problem(
                kind,
                f"several distributions provide a {kind.name} named {driver!r}: {several};"
                " uninstall all but one, or rename its entry point",
            )
            return None
        names = sorted(entry_point.name for entry_point in entry_points)
        hint = nearest_of(driver, names) or _other_kind(driver)
        self._add_problem(
            kind,
            f"no installed distribution provides a {kind.name} named {driver!r}{hint};"
            f" available: {', '.join(names)}",
        )
        return None

    def _import(self, kind: _Kind[Any], found: EntryPoint) -> Any:
        try:
            return _Import(found).extensions[0].plugin
        except (Exception, SystemExit) as error:
            hint = _what_to_install(found, error)
            if not hint:
                LOG.exception("%s cannot be imported", _origin(found))
            cause = f"{found.name!r} cannot be imported: {type(error).__name__}: {error}{hint}"
            self._add_problem(kind, cause, _origin(found))
            return None

    def _construct(self, group: str, plugin: type[B], found: EntryPoint) -> B | None:
        origin = _origin(found)
        try:
            if self._sections.register(group, plugin.options(), origin):
                return None
            dependent = plugin.dependent_options(self._conf, group)
            unusable = [
                self._sections.register(section, options, origin)
                for section, options in dependent.items()
            ]
            return None if any(unusable) else plugin(self._conf, group)
        except ConfigurationError as error:
            for problem in error.problems:
                self._sections.add_problem(group, problem, origin)
        except UNRESOLVED:
            self._sections.add_problem(group, f"a value {DOLLAR}", origin)
        except cfg.NotInitializedError:
            problem = "the ConfigOpts has not been called yet: call conf([]) first"
            self._sections.add_problem(group, problem)
        except (Exception, SystemExit) as error:
            hint = _what_to_install(found, error)
            if not hint:
                LOG.exception("[%s]: %s cannot be created", group, origin)
                # The exception's text may contain an option's value, and so a secret.
                hint = "; see the traceback in the log"
            problem = f"{found.name!r} cannot be created: {type(error).__name__}{hint}"
            self._sections.add_problem(group, problem, origin)
        return None


def _other_kind(driver: str) -> str:
    """Return a hint that another kind of backend has that name; empty if none has."""
    for kind in (_REGISTRY, _STORE, _POLICY):
        if driver in importlib.metadata.entry_points(group=f"imageapi.{kind.name}").names:
            return f" (that is the name of a {kind.name})"
    return ""


class _Import(_ExtensionManager):
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
    if plugin.api_version > API_VERSION:
        wants = f"needs version {plugin.api_version} of the backend interface"
        return f"{wants}, but this imageapi has version {API_VERSION}: upgrade imageapi"
    return _unfit_schemes(plugin) if issubclass(plugin, StoreBackend) else ""


def _unfit_schemes(store: type[StoreBackend]) -> str:
    schemes = getattr(store, "schemes", None)
    if isinstance(schemes, frozenset) and schemes and all(map(_is_scheme, schemes)):
        return ""
    return "must define schemes: a frozenset of the URL schemes that it opens, in lower case"


def _is_scheme(scheme: object) -> bool:
    return isinstance(scheme, str) and scheme != "" and scheme == scheme.lower()


def _what_to_install(found: EntryPoint, error: BaseException) -> str:
    """Return how to install a missing extra: one that the entry point names, or its name."""
    missing = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or missing == found.module.partition(".")[0]:
        return ""
    if found.dist is None:
        return ""
    offered = {_normalized(extra) for extra in found.dist.metadata.get_all("Provides-Extra") or ()}
    for extra in map(_normalized, (*found.extras, found.name)):
        if extra in offered:
            return f"; pip install '{found.dist.name}[{extra}]'"
    return ""


def _normalized(extra: str) -> str:
    """Normalize the name of an extra for comparison (PEP 685)."""
    return re.sub(r"[-_.]+", "-", extra).lower()


def _origin(found: EntryPoint) -> str:
    about = f"entry point {found.group} {found.name} = {found.value}"
    return f"{about} of {_distribution(found)}"


def _distribution(found: EntryPoint) -> str:
    distribution = found.dist
    return (
        f"{distribution.name} {distribution.version}" if distribution else "an unknown distribution"
    )


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
    for kind in (_REGISTRY, _STORE, _POLICY):
        entry_points = importlib.metadata.entry_points(group=f"imageapi.{kind.name}")
        for found in sorted(entry_points, key=lambda one: one.name):
            yield _driver(kind, found)


def _driver(kind: _Kind[Any], found: EntryPoint) -> Driver:
    options: Sequence[cfg.Opt] = ()
    try:
        plugin = _Import(found).extensions[0].plugin
        problem = _unfit(plugin, kind.base)
        options = () if problem else plugin.options()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise any
        problem = f"{type(error).__name__}: {error}{_what_to_install(found, error)}"
    return Driver(kind.name, found.name, _distribution(found), options, problem)
