# SPDX-License-Identifier: Apache-2.0
"""Objects of entry points: one usable store, and others that the loader refuses."""

from collections.abc import Mapping, Sequence

from oslo_config import cfg

from imageapi.backends.base import StoreBackend
from imageapi.errors import ConfigurationError
from imageapi.testing.fakes import MemoryStore


class Good(MemoryStore):
    pass


class Abstract(StoreBackend):
    schemes = frozenset({"x"})


class Later(MemoryStore):
    api_version = 2


class TextVersion(MemoryStore):
    api_version = "1"  # type: ignore[assignment]  # the fault


class OneScheme(MemoryStore):
    schemes = "x"  # type: ignore[assignment]  # the fault


class LoudSchemes(MemoryStore):
    schemes = frozenset({"X"})


class NoSchemes(MemoryStore):
    schemes = frozenset()


class Demanding(MemoryStore):
    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return [cfg.StrOpt("endpoint", required=True), cfg.IntOpt("pool", deprecated_name="size")]


class Choosy(Demanding):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        raise ConfigurationError(["endpoint: cannot be a number", "one of two is too many"])


class Buggy(MemoryStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        raise ZeroDivisionError("s3cret")


class Leaving(MemoryStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        raise SystemExit(3)


class Late(MemoryStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        __import__("acme_client")


class BuggyOptions(MemoryStore):
    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        raise ZeroDivisionError("s3cret")


class Clashing(MemoryStore):
    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return [cfg.StrOpt("twice"), cfg.IntOpt("twice")]


class Repeating(MemoryStore):
    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return [cfg.StrOpt("two-words"), cfg.StrOpt("one")]

    @classmethod
    def dependent_options(cls, conf: cfg.ConfigOpts, group: str) -> Mapping[str, Sequence[cfg.Opt]]:
        return {} if conf[group].one else {group: [cfg.IntOpt("two_words")]}


def function(conf: cfg.ConfigOpts, group: str) -> None:
    pass
