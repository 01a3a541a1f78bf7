# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence

import pytest
import testtools
from oslo_config import cfg

from imageapi.errors import ConfigurationError
from imageapi.image import Location
from imageapi.testing.fakes import MemoryStore
from imageapi.testing.store_suite import StoreSuite
from imageapi.testing.suite import build


class DemandingStore(MemoryStore):
    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return [cfg.StrOpt("endpoint", required=True), cfg.IntOpt("pool", default=5)]

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        super().__init__(conf, group)
        self.endpoint: str = conf[group].endpoint
        self.pool: int = conf[group].pool


def test_build_gives_options_and_keeps_defaults() -> None:
    store = build(DemandingStore, endpoint="x")
    assert (store.endpoint, store.pool) == ("x", 5)


def test_build_refuses_an_option_that_is_none() -> None:
    with pytest.raises(ConfigurationError) as raised:
        build(DemandingStore, endpiont="x")
    assert str(raised.value) == (
        "build(DemandingStore): there is no option 'endpiont'; its options are endpoint, pool"
    )


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_case_closes_its_backends_and_ignores_the_errors(is_broken: bool) -> None:
    closed: list[object] = []

    class Closing(MemoryStore):
        def close(self) -> None:
            closed.append(self)
            if is_broken:
                raise RuntimeError("a bug")

    class Suite(StoreSuite, testtools.TestCase):
        def make_store(self) -> MemoryStore:
            return build(Closing)

        def make_unreachable(self) -> tuple[MemoryStore, Location]:
            return build(Closing), Location("memory:x")

    result = testtools.TestResult()
    Suite("test_constructor_does_no_io").run(result)
    assert result.wasSuccessful()
    assert len(set(closed)) == 2
