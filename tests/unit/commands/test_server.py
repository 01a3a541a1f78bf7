# SPDX-License-Identifier: Apache-2.0
import argparse
import resource
from typing import Any

import pytest
from gunicorn.arbiter import Arbiter
from oslo_config import cfg

from imageapi.commands import server
from imageapi.commands.serve_settings import ServeSettings
from imageapi.commands.server import Server
from imageapi.errors import ConfigurationError


class Application:
    """Counts how often it is closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def server_of(build: Any) -> Server:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    return Server(build(), build, ServeSettings.of(conf, argparse.Namespace()))


def test_a_new_configuration_replaces_the_old_application() -> None:
    old, new = applications = [Application(), Application()]
    one = server_of(lambda: applications.pop(0))
    assert one.load() is old
    assert one.renew() is True
    assert one.load() is new
    assert (old.closed, new.closed) == (1, 0)


def test_an_invalid_configuration_replaces_nothing(caplog: pytest.LogCaptureFixture) -> None:
    old = Application()
    answers: list[Any] = [old, ConfigurationError(["registry: is wrong"])]

    def build() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    one = server_of(build)
    assert one.renew() is False
    assert one.load() is old
    assert old.closed == 0
    assert caplog.messages == [
        "configuration: registry: is wrong",
        "the new configuration is refused: the old one stays in force",
    ]


@pytest.mark.parametrize(
    ("limits", "connections", "new_limits"),
    [
        ((1024, 1_000_000), 4000, (12080, 1_000_000)),
        ((20_000, 1_000_000), 4000, None),
        ((1024, 5000), 1640, (5000, 5000)),
        ((50, 50), 1, None),
        ((1024, resource.RLIM_INFINITY), 4000, (12080, resource.RLIM_INFINITY)),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 4000, None),
    ],
)
def test_connections_that_the_limit_of_descriptors_allows(
    limits: tuple[int, int],
    connections: int,
    new_limits: tuple[int, int] | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: found.append(new))
    assert server._allowed_connections(4000) == connections
    assert found == ([] if new_limits is None else [new_limits])
    assert ("raise the limit to 12080" in caplog.text) is (connections < 4000)


@pytest.fixture
def master(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The first process with two workers, which starts none."""
    master: Any = server._Master.__new__(server._Master)
    master.WORKERS = {101: None, 102: None}
    master._num_workers = 2
    master._leaving = set()
    master.spawned = []
    monkeypatch.setattr(Arbiter, "manage_workers", lambda _: None)
    monkeypatch.setattr(Arbiter, "spawn_worker", lambda master: master.spawned.append(1))
    monkeypatch.setattr(Arbiter, "handle_hup", lambda master: master.spawned.append("hup"))
    return master


@pytest.mark.parametrize(("leaving", "started"), [(set(), 0), ({101}, 1), ({101, 99}, 1)])
def test_a_worker_that_leaves_is_not_counted(master: Any, leaving: set[int], started: int) -> None:
    master._leaving = leaving
    master.manage_workers()
    assert master.spawned == [1] * started
    assert 99 not in master._leaving


@pytest.mark.parametrize("is_valid", [True, False])
def test_workers_are_replaced_only_for_a_valid_configuration(master: Any, is_valid: bool) -> None:
    master.app = type("Renewing", (), {"renew": lambda _self: is_valid})()
    master.handle_hup()
    assert master.spawned == (["hup"] if is_valid else [])
    assert master._leaving == ({101, 102} if is_valid else set())
