# SPDX-License-Identifier: Apache-2.0
import pytest
from oslo_config import cfg

from imageapi.config.options import CORE, GROUP


@pytest.fixture
def core() -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    conf.register_opts(CORE, group=GROUP)
    return conf


def test_defaults_need_no_other_service(core: cfg.ConfigOpts) -> None:
    values = core[GROUP]
    assert (values.registry, values.stores, values.events) == ("file", ["file"], [])


def test_defaults_trust_neither_callers_nor_stores(core: cfg.ConfigOpts) -> None:
    values = core[GROUP]
    assert (values.policy, values.admin_roles) == ("rules", ["admin"])
    assert (values.verify_checksum, values.unsafe_images) == ("once", "log")


def test_default_limits(core: cfg.ConfigOpts) -> None:
    values = core[GROUP]
    assert (values.limit_param_default, values.api_limit_max) == (25, 1000)
    # http.client of Python refuses more than 100 header lines, of which about 20 are fixed.
    assert values.max_property_headers == 70


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chunk_size", 0),
        ("resume_attempts", -1),
        ("max_property_headers", -1),
        ("limit_param_default", 0),
        ("api_limit_max", 0),
        ("verify_checksum", "sometimes"),
        ("unsafe_images", "hide"),
    ],
)
def test_value_that_is_refused(core: cfg.ConfigOpts, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"^(Should be (greater|less)|Valid values are)"):
        core.set_override(name, value, group=GROUP)


@pytest.mark.parametrize(
    ("name", "value"), [("chunk_size", 1), ("resume_attempts", 0), ("max_property_headers", 0)]
)
def test_least_value(core: cfg.ConfigOpts, name: str, value: int) -> None:
    core.set_override(name, value, group=GROUP)
    assert core[GROUP][name] == value


@pytest.mark.parametrize("name", ["verify_checksum", "unsafe_images"])
def test_help_explains_each_choice(name: str) -> None:
    (option,) = (option for option in CORE if option.name == name)
    choices = vars(option.type)["choices"]
    assert len(choices) == 3
    assert all(choices.values())
