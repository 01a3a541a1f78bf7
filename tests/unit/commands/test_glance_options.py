# SPDX-License-Identifier: Apache-2.0
from argparse import Namespace
from pathlib import Path

import pytest

import imageapi
from imageapi.commands.configured import config_of
from imageapi.commands.glance_options import refuse_policy, unused
from imageapi.errors import ConfigurationError
from tests.configuration import load


def conf_of(folder: Path, text: str) -> list[str]:
    path = folder / "imageapi.conf"
    path.write_text(text)
    return [found.replace(str(path), "FILE") for found in unused(imageapi.load_config([path]))]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[DEFAULT]\nworkers = 4", "[DEFAULT] workers in FILE is not used: set [imageapi_serve]"),
        ("[DEFAULT]\nbind_port = 1", "[DEFAULT] bind_port in FILE is not used: set [imageapi_"),
        ("[DEFAULT]\nbind-port = 1", "[DEFAULT] bind_port in FILE is not used: set [imageapi_"),
        ("[DEFAULT]\nlog_file = x", "[DEFAULT] log_file in FILE is not used: set [imageapi_s"),
        ("[DEFAULT]\ndebug = true", "[DEFAULT] debug in FILE is not used: start imageapi --debug"),
        (
            "[DEFAULT]\nproperty_protection_file = x",
            "[DEFAULT] property_protection_file in FILE is not used: set [imageapi] property_prot",
        ),
        (
            "[DEFAULT]\nproperty_protection_rule_format = roles",
            "[DEFAULT] property_protection_rule_format in FILE is not used: set [imageapi] proper",
        ),
        ("[DEFAULT]\nchunk_size = 1", "[DEFAULT] chunk_size in FILE is not used: set [imageapi] c"),
        ("[DEFAULT]\nregistry_host = r", "[DEFAULT] registry_host in FILE is not used: set [imag"),
        ("[glance_store]\nstores = file", "[glance_store] stores in FILE is not used: set [imagea"),
        (
            "[glance_store]\nfilesystem_store_datadir = /x",
            (
                "[glance_store] filesystem_store_datadir in FILE is not used:"
                " set [imageapi_store_file] directory"
            ),
        ),
        ("[paste_deploy]\nflavor = keystone", "[paste_deploy] flavor in FILE is not used: "),
        ("[keystone_authtoken]\nx = y", "[keystone_authtoken] in FILE is not used: imageapi serve"),
        (
            "[oslo_policy]\npolicy_file = x",
            (
                "[oslo_policy] policy_file in FILE is not used:"
                " set [imageapi_policy_rules] policy_file"
            ),
        ),
    ],
)
def test_options_of_glance_are_told(tmp_path: Path, text: str, told: str) -> None:
    (found,) = conf_of(tmp_path, text)
    assert found.startswith(told)


def test_other_options_are_not_told(tmp_path: Path) -> None:
    """Drivers read some, such as oslo.messaging's transport_url."""
    text = "[imageapi]\nchunk_size = 1\n[DEFAULT]\ntransport_url = rabbit://\n[cors]\nx = y\n"
    assert conf_of(tmp_path, text) == []


@pytest.mark.parametrize("section", ["oslo_policy", "DEFAULT"])
def test_a_policy_that_would_not_apply_is_refused(tmp_path: Path, section: str) -> None:
    path = tmp_path / "imageapi.conf"
    path.write_text(f"[{section}]\npolicy_file = policy.yaml\n")
    with pytest.raises(ConfigurationError) as caught:
        config_of(Namespace(config_file=[str(path)]))
    assert caught.value.problems == (
        f"[{section}] policy_file in {path} is not used: set [imageapi_policy_rules] policy_file",
    )


def test_a_policy_beside_that_of_imageapi_is_only_told(tmp_path: Path) -> None:
    path = tmp_path / "imageapi.conf"
    path.write_text("[oslo_policy]\npolicy_file = a\n[imageapi_policy_rules]\npolicy_file = b\n")
    conf = imageapi.load_config([path])
    refuse_policy(conf)
    assert len(list(unused(conf))) == 1


def test_protections_that_would_not_apply_are_refused(tmp_path: Path) -> None:
    """A policy of imageapi changes nothing about it."""
    path = tmp_path / "imageapi.conf"
    path.write_text(
        "[DEFAULT]\nproperty_protection_file = a\n[imageapi_policy_rules]\npolicy_file = b\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        config_of(Namespace(config_file=[str(path)]))
    told = "is not used: set [imageapi] property_protection_file"
    assert caught.value.problems == (f"[DEFAULT] property_protection_file in {path} {told}",)
    path.write_text(f"{path.read_text()}[imageapi]\nproperty_protection_file = a\n")
    refuse_policy(imageapi.load_config([path]))


def test_an_application_has_options_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(tmp_path, "[oslo_policy]\npolicy_file = x\n[DEFAULT]\nworkers = 4\n").close()
    assert caplog.messages == []
