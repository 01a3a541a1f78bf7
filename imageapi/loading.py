# SPDX-License-Identifier: Apache-2.0
"""Names in the configuration -> backends.  The only module that imports stevedore."""

import difflib
import importlib.metadata
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from oslo_config import cfg
from stevedore import named

from imageapi import opts
from imageapi.backends.base import Backend, RegistryBackend, StoreBackend
from imageapi.errors import ConfigurationError
from imageapi.policy.base import PolicyBackend

LOG = logging.getLogger(__name__)

B = TypeVar("B", bound=Backend)

_NAME = re.compile(r"[A-Za-z0-9_-]+")

# How oslo.config says where a value comes from.
_LOCATION_INFO = re.compile(r" from LocationInfo\(.*?detail='(.*?)'\)")


@dataclass(frozen=True)
class Loaded(Generic[B]):
    """A backend under the name that the configuration gives it.

    :ivar kind: registry, store or policy.
    :ivar driver: the entry point's name.
    :ivar distribution: of the entry point, with its version.
    """

    kind: str
    name: str
    driver: str
    distribution: str
    backend: B

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}"


@dataclass(frozen=True)
class Backends:
    """All that a configuration names; each was loaded once."""

    registry: Loaded[RegistryBackend]
    stores: tuple[Loaded[StoreBackend], ...]
    policy: Loaded[PolicyBackend]

    def __iter__(self) -> Iterator[Loaded[Any]]:
        return iter((self.registry, *self.stores, self.policy))

    def close(self) -> None:
        """Close every backend; what one raises is logged and stops none."""
        _close(self)


def _close(backends: Iterable[Loaded[Any]]) -> None:
    for loaded in backends:
        try:
            loaded.backend.close()
        except Exception:
            LOG.exception("%s: closing it failed", loaded)


class _Spec(NamedTuple):
    name: str
    driver: str


def load(conf: cfg.ConfigOpts) -> Backends:
    """Load the backends that a configuration names.

    :param conf: called already, by its owner; options are registered in it.
    :raises ConfigurationError: with all that is wrong at once.
    """
    loader = _Loader(conf)
    core = conf[opts.GROUP]
    registries = loader.load_all("registry", "registry", [core.registry], RegistryBackend)
    stores = loader.load_all("store", "stores", core.stores, StoreBackend)
    policies = loader.load_all("policy", "policy", [core.policy], PolicyBackend)
    loader.check_public_endpoint(core.public_endpoint)
    loader.refuse_unknown_options()
    if loader.problems:
        _close([*registries, *stores, *policies])
        raise ConfigurationError(loader.problems)
    return Backends(registries[0], tuple(stores), policies[0])


class _Loader:
    """Loads one configuration, and collects what is wrong with it."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.problems: list[str] = []
        self._conf = conf
        self._known: dict[str, set[str]] = {}
        # Backends read the core's options too, and are not made over wrong ones.
        self._core_is_sound = self.register(opts.GROUP, opts.CORE)

    def register(self, group: str, options: Sequence[cfg.Opt]) -> bool:
        """Register a section's options; whether all their values are usable."""
        before = len(self.problems)
        try:
            self._conf.register_opts(options, group=group)
        except cfg.Error as error:
            self.problems.append(f"[{group}]: {error}")
            return False
        self._known.setdefault(group, set()).update(_spellings(options, group))
        for option in options:
            self._check_value(group, option)
        return len(self.problems) == before

    def load_all(
        self, kind: str, option: str, specs: Sequence[str], base: type[B]
    ) -> list[Loaded[B]]:
        """Load the backends that an option names."""
        where = f"[{opts.GROUP}] {option}"
        if not any(specs):
            self.problems.append(f"{where}: must name a {kind}")
            return []
        parsed = [self._parse(where, spec) for spec in specs]
        names = [spec.name for spec in parsed if spec]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.problems.append(f"{where}: names {name!r} twice: write NAME:DRIVER")
        loaded = [self._load(where, kind, spec, base) for spec in parsed if spec]
        return [one for one in loaded if one is not None]

    def check_public_endpoint(self, url: str) -> None:
        """It must be a URL to which a path can be added."""
        where = f"[{opts.GROUP}] public_endpoint"
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = None
        if url and (
            parts is None
            or parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or "@" in parts.netloc
        ):
            self.problems.append(f"{where}: must be a URL such as https://images.example.com")

    def refuse_unknown_options(self) -> None:
        """A misspelt option would else keep its default without a word."""
        for path in getattr(self._conf, "config_file", None) or ():
            for group, names in _names_in(path).items():
                if group in self._known:
                    self._refuse_unknown(path, group, names)
                    continue
                nearest = _nearest(group, self._known)
                if nearest or group.startswith(f"{opts.GROUP}_"):
                    LOG.warning("[%s] in %s is not used%s", group, path, nearest)

    def _refuse_unknown(self, path: str, group: str, names: Iterable[str]) -> None:
        known = self._known[group]
        self.problems.extend(
            f"[{group}] {name}: there is no such option{_nearest(name, known)} (in {path})"
            for name in names
            if name.replace("-", "_") not in known
        )

    def _check_value(self, group: str, option: cfg.Opt) -> None:
        try:
            value = self._conf[group][option.dest]
        except (ValueError, cfg.Error) as error:
            told = _LOCATION_INFO.sub(r" in \1", str(error))
            self.problems.append(f"[{group}] {option.dest}: {told}")
            return
        # oslo.config enforces this only for options registered before it parsed.
        if option.required and value is None:
            self.problems.append(f"[{group}] {option.dest}: must be set")

    def _parse(self, where: str, spec: str) -> _Spec | None:
        name, colon, driver = spec.partition(":")
        if _NAME.fullmatch(name) and (bool(driver) == bool(colon)):
            return _Spec(name, driver or name)
        self.problems.append(f"{where}: {spec!r} is not NAME or NAME:DRIVER")
        return None

    def _load(self, where: str, kind: str, spec: _Spec, base: type[B]) -> Loaded[B] | None:
        found = self._find(where, kind, spec.driver)
        if found is None:
            return None
        entry_point = f"the entry point {found.group} {found.name} = {found.value}"
        plugin = self._import(where, found, entry_point)
        if plugin is None:
            return None
        if not (isinstance(plugin, type) and issubclass(plugin, base)):
            self.problems.append(f"{where}: {entry_point} is not a {base.__name__}")
            return None
        group = f"imageapi_{kind}_{spec.name}"
        backend = self._construct(group, plugin, entry_point)
        if backend is None:
            return None
        return Loaded(kind, spec.name, spec.driver, _distribution(found), backend)

    def _find(self, where: str, kind: str, driver: str) -> importlib.metadata.EntryPoint | None:
        entry_points = importlib.metadata.entry_points(group=f"imageapi.{kind}")
        found = [entry_point for entry_point in entry_points if entry_point.name == driver]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(_distribution(entry_point) for entry_point in found)
            self.problems.append(
                f"{where}: several distributions bring a {kind} named {driver!r}:"
                f" {several}; uninstall all but one"
            )
            return None
        names = sorted(entry_point.name for entry_point in entry_points)
        self.problems.append(
            f"{where}: no installed distribution brings a {kind} named {driver!r}"
            f"{_nearest(driver, names)}; there are: {', '.join(names)}"
        )
        return None

    def _import(
        self, where: str, found: importlib.metadata.EntryPoint, entry_point: str
    ) -> object | None:
        def failed(_manager: Any, _entry_point: Any, error: BaseException) -> None:
            LOG.error("%s cannot be imported", entry_point, exc_info=error)
            self.problems.append(
                f"{where}: {entry_point} of {_distribution(found)} cannot be imported:"
                f" {type(error).__name__}: {error}"
            )

        manager: named.NamedExtensionManager[Any] = named.NamedExtensionManager(
            found.group,
            [found.name],
            on_load_failure_callback=failed,
            on_missing_entrypoints_callback=None,
        )
        return manager[found.name].plugin if found.name in manager else None

    def _construct(self, group: str, plugin: type[B], entry_point: str) -> B | None:
        try:
            if not self.register(group, plugin.options()) or not self._core_is_sound:
                return None
            return plugin(self._conf, group)
        except ConfigurationError as error:
            self.problems.extend(f"[{group}] {problem}" for problem in error.problems)
        except cfg.NotInitializedError:
            self.problems.append(
                f"[{group}]: the ConfigOpts has not been called yet: call conf([]) first"
            )
        except Exception as error:
            LOG.exception("[%s]: %s cannot be made", group, entry_point)
            self.problems.append(
                f"[{group}]: {entry_point} cannot be made: {type(error).__name__}; the log has"
                " its traceback"
            )
        return None


def _spellings(options: Sequence[cfg.Opt], group: str) -> Iterable[str]:
    for option in options:
        yield option.dest
        for deprecated in option.deprecated_opts:
            if deprecated.name and deprecated.group in (None, group):
                yield deprecated.name.replace("-", "_")


def _names_in(path: str) -> Mapping[str, Iterable[str]]:
    """The options in a configuration file, by section."""
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except (OSError, cfg.Error) as error:
        # A host may have left the folder that a relative path was meant from.
        LOG.warning("%s cannot be read again to look for misspelt options: %s", path, error)
    return sections


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1, 0.75)
    return f"; did you mean {close[0]!r}?" if close else ""


def _distribution(entry_point: importlib.metadata.EntryPoint) -> str:
    distribution = entry_point.dist
    return f"{distribution.name} {distribution.version}" if distribution else "an unknown one"
