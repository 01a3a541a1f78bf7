# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence

import pytest
from oslo_config import cfg

from imageapi.testing.fakes import MemoryStore
from imageapi.testing.suite import build


class WithOptions(MemoryStore):
    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return [cfg.StrOpt("endpoint", required=True), cfg.IntOpt("pool", default=5)]

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.endpoint: str = conf[group].endpoint
        self.pool: int = conf[group].pool


def test_build_gives_options_and_keeps_defaults() -> None:
    store = build(WithOptions, endpoint="x")
    assert (store.endpoint, store.pool) == ("x", 5)


def test_build_refuses_an_option_that_is_none() -> None:
    with pytest.raises(cfg.NoSuchOptError, match="endpiont"):
        build(WithOptions, endpiont="x")
