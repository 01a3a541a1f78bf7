# SPDX-License-Identifier: Apache-2.0
"""What a wrong configuration of Swift's sections is told, and what they share."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from keystoneauth1 import loading as ks_loading

import imageapi
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.backends.swift.session import session_of
from imageapi.backends.swift.store import SwiftStore
from imageapi.config import plugins
from imageapi.errors import ConfigurationError
from imageapi.testing.suite import build
from tests.configuration import load, problems_of

SECRET = "s3cret"

PASSWORD = f"""\
auth_type = v3password
auth_url = http://127.0.0.1:1/v3
username = imageapi
password = {SECRET}
project_name = images
user_domain_id = default
project_domain_id = default
"""

APPLICATION = f"""\
auth_type = v3applicationcredential
auth_url = http://127.0.0.1:1/v3
application_credential_id = i
application_credential_secret = {SECRET}
"""

BOTH = """\
[imageapi]
registry = swift
stores = swift
[imageapi_registry_swift]
container = records
auth_section = cloud
[imageapi_store_swift]
container = images
auth_section = cloud
{store}
[cloud]
{cloud}
"""


def short_problems_of(tmp_path: Path, text: str) -> list[str]:
    """The problems, without what follows in parentheses; none of them shows the secret."""
    problems = problems_of(tmp_path, text)
    assert SECRET not in "\n".join(problems)
    return [problem.partition(" (")[0] for problem in problems]


def test_plugins_of_keystoneauth_are_found(tmp_path: Path) -> None:
    for cloud in (
        PASSWORD,
        "auth_type = password\nauth_url = http://127.0.0.1:1\nusername = u\npassword = p\n",
        "auth_type = v1password\nauth_url = http://127.0.0.1:1\nusername = u\npassword = p\n",
        APPLICATION,
        "auth_type = none\nendpoint_override = http://127.0.0.1:1/v1/AUTH_x\n",
    ):
        load(tmp_path, BOTH.format(store="", cloud=cloud)).close()


@pytest.mark.parametrize(
    ("cloud", "told"),
    [
        ("auth_type = none", ["endpoint_override: must be set when auth_type is none"]),
        (
            "auth_type = none\nendpoint_override = http://user:s3cret@x/v1",
            ["endpoint_override: it must not contain credentials"],
        ),
        (
            PASSWORD + "cafile = /nowhere",
            [
                "cafile: /nowhere: No such file or directory; it must hold CA certificates in PEM",
            ],
        ),
        (PASSWORD + "keyfile = /nowhere", ["keyfile: set certfile too"]),
        (PASSWORD.replace("user_domain_id", "#"), ["auth_type: in [cloud]: You have provided a"]),
        (PASSWORD.replace("http://127.0.0.1:1/v3", "x"), ["auth_url: in [cloud]: it is not an"]),
        (
            PASSWORD.replace("//127", f"//u:{SECRET}@127"),
            ["auth_url: in [cloud]: it must not contain credentials"],
        ),
    ],
)
def test_what_cannot_work(tmp_path: Path, cloud: str, told: list[str]) -> None:
    problems = short_problems_of(tmp_path, BOTH.format(store="", cloud=cloud))
    assert len(problems) == 2
    for problem, group in zip(problems, ("registry", "store"), strict=True):
        assert problem.startswith(f"[imageapi_{group}_swift] {told[0]}")


@pytest.mark.parametrize(
    ("cloud", "problem"),
    [
        (
            PASSWORD.replace("auth_type", "#"),
            (
                "[cloud] auth_type: is not set; set it to v3applicationcredential, v3password,"
                " v1password or none"
            ),
        ),
        (
            PASSWORD.replace("v3password", "v3pasword"),
            (
                "[cloud] auth_type: no keystoneauth plugin named 'v3pasword' is installed; set"
                " it to v3applicationcredential, v3password, v1password or none"
            ),
        ),
        ("auth_type = v3password", "[cloud] auth_url: must be set"),
        (PASSWORD + "usrname = x", "[cloud] usrname: there is no such option"),
        (PASSWORD + "timeout = 0", "[cloud] timeout: "),
        (PASSWORD + "timeout = inf", "[cloud] timeout: "),
        (PASSWORD + "connect_timeout = nan", "[cloud] connect_timeout: "),
        (PASSWORD + "connect_timeout = 1e12", "[cloud] connect_timeout: "),
        (PASSWORD + "connect_retry_delay = nan", "[cloud] connect_retry_delay: "),
        (PASSWORD.replace(SECRET, f"x${SECRET}"), "[cloud] password: has a $ reference"),
        (PASSWORD + "connect_retries = -1", "[cloud] connect_retries: "),
        (PASSWORD + "retriable_status_codes = soon", "[cloud] retriable_status_codes: "),
    ],
)
def test_what_is_wrong_in_a_shared_section_is_told_once(
    tmp_path: Path, cloud: str, problem: str
) -> None:
    problems = short_problems_of(tmp_path, BOTH.format(store="", cloud=cloud))
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_an_option_beside_the_section_that_is_read_is_refused(tmp_path: Path) -> None:
    store = "cafile = /etc/ssl/cert.pem\nusername = other"
    problems = short_problems_of(tmp_path, BOTH.format(store=store, cloud=PASSWORD))
    told = "cafile: is read from [cloud], which auth_section names: set it there"
    assert problems == [
        f"[imageapi_store_swift] {told}",
        "[imageapi_store_swift] username: there is no such option",
    ]


def test_a_container_must_be_named() -> None:
    with pytest.raises(ConfigurationError, match="needs container"):
        build(SwiftStore, auth_type="none", endpoint_override="http://x/v1/AUTH_x")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"container": "images/sub"},
            "container: must be a name without a slash, not 'images/sub'",
        ),
        ({"container": ".."}, "container: its path contains a dot segment"),
        ({"object_prefix": "../"}, "object_prefix: its path contains a dot segment"),
    ],
)
def test_names_that_no_object_can_have(options: dict[str, str], told: str) -> None:
    given = {"container": "images", "endpoint_override": "http://x/v1/AUTH_x", **options}
    for backend in (SwiftStore, SwiftRegistry):
        with pytest.raises(ConfigurationError, match=re.escape(told)):
            build(backend, auth_type="none", **given)


def test_a_section_that_the_host_has_registered_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "imageapi.conf"
    path.write_text(BOTH.format(store="", cloud=PASSWORD))
    conf = imageapi.load_config([str(path)])
    ks_loading.register_session_conf_options(conf, "cloud")
    with pytest.raises(ConfigurationError) as caught:
        plugins.load(conf)
    assert all("clash with those of the application" in told for told in caught.value.problems)


def test_sections_share_a_session_as_long_as_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "imageapi.conf"
    path.write_text(BOTH.format(store="", cloud=PASSWORD))
    conf, other = imageapi.load_config([str(path)]), imageapi.load_config([str(path)])
    backends = plugins.load(conf)
    shared = session_of(conf, "imageapi_store_swift")
    assert session_of(conf, "imageapi_registry_swift") is shared
    more = plugins.load(other)
    assert session_of(other, "imageapi_store_swift") is not shared
    conf.set_override("password", "another", group="cloud")
    assert session_of(conf, "imageapi_store_swift") is not shared
    backends.close()
    more.close()


def test_nothing_shows_the_password(tmp_path: Path) -> None:
    backends = load(tmp_path, BOTH.format(store="", cloud=PASSWORD))
    store = backends.stores[0].backend
    assert isinstance(store, SwiftStore)
    assert isinstance(backends.registry.backend, SwiftRegistry)
    for thing in (store, store.account, backends):
        assert SECRET not in repr(thing)
    backends.close()


WITHOUT_EXTRA = """\
import sys
sys.modules["keystoneauth1"] = None  # as where it is not installed
import imageapi
from imageapi.config import plugins
from imageapi import opts
assert "imageapi_store_file" in dict(opts.list_opts())
assert "imageapi_store_swift" not in dict(opts.list_opts())
try:
    plugins.load(imageapi.load_config(sys.argv[1:]))
except imageapi.ConfigurationError as error:
    print(*error.problems, sep="\\n")
"""


def test_without_the_extra(tmp_path: Path) -> None:
    """It is named; and the other backends do not need it."""
    path = tmp_path / "imageapi.conf"
    path.write_text(BOTH.format(store="", cloud=PASSWORD))
    command = [sys.executable, "-c", WITHOUT_EXTRA, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("; pip install 'imageapi[swift]'" in line for line in lines)
