# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
from oslo_config import cfg

from imageapi.commands.serve_settings import ServeSettings
from imageapi.config.serve_options import GROUP, OPTIONS

TIMEOUTS = ("head_timeout", "idle_timeout", "stall_timeout", "stop_timeout")
DAY = 86400


@pytest.fixture
def serve_options() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    conf.register_opts(OPTIONS, group=GROUP)
    return conf


def test_serve_uses_each_option() -> None:
    fields = {field.name for field in dataclasses.fields(ServeSettings)}
    assert {option.dest for option in OPTIONS} == fields


def test_defaults_listen_to_this_machine_only(serve_options: cfg.ConfigOpts) -> None:
    values = serve_options[GROUP]
    assert values.bind == ["127.0.0.1:9292"]
    assert values.metrics_bind is None


def test_defaults_log_to_the_standard_streams(serve_options: cfg.ConfigOpts) -> None:
    values = serve_options[GROUP]
    assert (values.log_file, values.access_log, values.log_format) == (None, "-", "text")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in TIMEOUTS for value in (0, DAY + 1)),
        ("reload_timeout", 0),
        ("reload_timeout", 7 * DAY + 1),
        *((name, 0) for name in ("workers", "threads", "connections")),
        ("log_format", "xml"),
    ],
)
def test_value_that_is_refused(serve_options: cfg.ConfigOpts, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"^(Should be (greater|less)|Valid values are)"):
        serve_options.set_override(name, value, group=GROUP)


@pytest.mark.parametrize("name", TIMEOUTS)
def test_a_day_is_the_longest_timeout(serve_options: cfg.ConfigOpts, name: str) -> None:
    serve_options.set_override(name, DAY, group=GROUP)
    assert serve_options[GROUP][name] == DAY


def test_downloads_may_outlive_a_reload_by_hours(serve_options: cfg.ConfigOpts) -> None:
    assert serve_options[GROUP].reload_timeout == 6 * 60 * 60
