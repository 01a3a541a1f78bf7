# SPDX-License-Identifier: Apache-2.0
"""What an operator reads after a mistake: what failed, with which value, and how to mend it.

Each case is a mistake that somebody can make in a minute: a wrong value, file, host, record
or command line.  All run in this process, so that there can be many of them.
"""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imageapi.commands import main, server
from tests.deployment import Deployment
from tests.functional.servers import free_port
from tests.unit.commands.conftest import logging_as_it_was, run

__all__ = ["logging_as_it_was", "run"]  # fixtures

Run = Callable[..., tuple[int, str, str]]

SECRET = "s3cret"

HTTP = "[imageapi_store_http]\nallowed_urls = http://h/\n"
S3 = "[imageapi_store_s3]\nbucket = images\n"
SWIFT = "[imageapi_store_swift]\ncontainer = c\n"
LOGIN = f"{SWIFT}auth_url = http://h/v3\nusername = u\npassword = {SECRET}\n"
NONE = f"{SWIFT}auth_type = none\nendpoint_override = http://h/v1/a\n"
TYPES = "set it to v3applicationcredential, v3password, v1password or none"
ALLOWED = "create = !\nread = readers\nupdate = !\ndelete = !\n"


@pytest.fixture
def mistake(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Run a command that fails; return all that it prints and logs."""
    monkeypatch.setenv("COLUMNS", "200")

    def told_by(*words: str, status: int = 1) -> str:
        found, out, err = run(*words)
        text = f"{out}{err}{caplog.text}"
        assert found == status, text
        assert "Traceback" not in text
        assert SECRET not in text
        return text

    return told_by


@pytest.mark.parametrize(
    ("core", "told"),
    [
        ("registry = flie", "[imageapi] registry: no installed distribution provides a registry"),
        ("registry = flie", "named 'flie' (did you mean 'file'?); available: file, http, memory"),
        ("registry =", "[imageapi] registry: must name a registry"),
        ("registry = a/b", "registry: 'a/b' must be NAME or NAME:DRIVER"),
        ("registry = file:", "registry: 'file:' must be NAME or NAME:DRIVER"),
        ("registry = failing", "named 'failing' (that is the name of a store)"),
        ("stores = swfit", "provides a store named 'swfit' (did you mean 'swift'?)"),
        ("stores =", "[imageapi] stores: must name a store"),
        ("stores = file, file", "stores: names 'file' twice: give each its own NAME, as NAME:DR"),
        ("policy = rule", "provides a policy named 'rule' (did you mean 'rules'?)"),
        ("events = promtheus", "provides an events backend named 'promtheus' (did you mean 'prom"),
        ("chunk_size = 0", "is not valid: Should be greater than or equal to 1, but found '0'"),
        ("chunk_size = 64k", "[imageapi] chunk_size: Value for option chunk_size in "),
        ("chunk_size = 64k", "is not valid: '64k' is not a whole number"),
        ("chunk_size =", "chunk_size: is empty; set it to a number, or remove the line for the"),
        ("resume_attempts = -1", "greater than or equal to 0, but found '-1'"),
        ("max_property_headers = many", "'many' is not a whole number"),
        ("verify_checksum = x", "Valid values are [always, once, never], but found 'x'"),
        ("verify_checksums = x", "there is no such option (did you mean 'verify_checksum'?)"),
        ("public_endpoint = example.com", "must be a URL such as https://images.example.com"),
        (f"public_endpoint = http://u:{SECRET}@h/", "it must not contain credentials"),
        ("public_endpoint = http://$h/", "has a $ reference to itself or to an unknown option"),
    ],
)
def test_core_options(
    deployment: Deployment, mistake: Callable[..., str], core: str, told: str
) -> None:
    deployment.configure(core=core)
    assert told in mistake("check")


@pytest.mark.parametrize(
    ("driver", "section", "told"),
    [
        ("http", f"{HTTP}read_timeout = 0", "read_timeout: Value for option read_timeout in "),
        ("http", f"{HTTP}read_timeout = 0", "than or equal to 0.001, but found '0' (entry point"),
        ("http", f"{HTTP}connect_timeout = soon", "is not valid: 'soon' is not a number"),
        ("http", f"{HTTP}pool_size = 0", "greater than or equal to 1, but found '0'"),
        ("http", f"{HTTP}auth = yes", "Valid values are [none, caller], but found 'yes'"),
        ("http", f"{HTTP}proxy = u:{SECRET}@p", "proxy: must be a URL such as http://proxy.exa"),
        ("http", f"{HTTP}prxy = u:{SECRET}@p", "prxy: there is no such option (did you mean 'pro"),
        ("http", f"{HTTP}ca_file = /absent", "ca_file: /absent: No such file or directory; it mu"),
        ("http", f"{HTTP}ca_file = /absent", "it must hold CA certificates in PEM"),
        ("http", f"{HTTP}cert_file = /etc", "cert_file: /etc: Is a directory; it must hold a cer"),
        ("http", f"{HTTP}key_file = /absent", "key_file: set cert_file too"),
        ("http", "[imageapi_store_http]\nallowed_urls = h", "allowed_urls: "),
        ("s3", "", "[imageapi_store_s3] bucket: must be set"),
        ("s3", f"{S3}secret_key = {SECRET}", "access_key: must be set too, because secret_key is"),
        ("s3", f"{S3}secret_key = ${SECRET}", "write $$ for a"),
        ("s3", f"{S3}endpoint_url = http://u:{SECRET}@h", "it must not contain credentials"),
        ("swift", "", "[imageapi_store_swift] container: must be set"),
        ("swift", LOGIN, f"[imageapi_store_swift] auth_type: is not set; {TYPES}"),
        ("swift", f"{LOGIN}auth_type = v3pasword", "no keystoneauth plugin named 'v3pasword' is"),
        ("swift", f"{LOGIN}auth_type = v3pasword", f"installed; {TYPES}"),
        ("swift", f"{LOGIN}auth_type = v3password", "you must also provide either a user_domain"),
        ("swift", f"{SWIFT}auth_type = none", "endpoint_override: must be set when auth_type is"),
        ("swift", f"{SWIFT}auth_section = x", "[x] auth_type: is not set; set it to v3applicati"),
        ("swift", f"{NONE}object_prefx = x", "there is no such option (did you mean 'object_pre"),
        ("swift", NONE.replace("= c", "= a/b"), "must be a name without a slash, not 'a/b'"),
        ("swift", NONE.replace("//h", f"//u:{SECRET}@h"), "it must not contain credentials"),
        ("swift", f"{NONE}tls_ciphers = x", "tls_ciphers: OpenSSL knows none of 'x'"),
        ("swift", f"{NONE}tls_min_version = 1.0", "Valid values are [None, 1.2, 1.3], but found"),
        ("swift", f"{NONE}segment_size = 5G", "'5G' is not a whole number"),
        ("swift", f"{NONE}cafile = /absent", "cafile: /absent: No such file or directory; it mu"),
        ("swift", f"{LOGIN}auth_type = v1password\nauth_url = h", "auth_url: in [imageapi_store_s"),
        ("swift", LOGIN.replace(SECRET, f"${SECRET}") + "auth_type = v1password", "write $$ for a"),
    ],
)
def test_options_of_stores(
    deployment: Deployment, mistake: Callable[..., str], driver: str, section: str, told: str
) -> None:
    deployment.configure(core=f"stores = file, {driver}", more=section)
    text = mistake("check")
    assert told in text
    # The cause, once.
    assert text.count("imageapi: [") == 1


@pytest.mark.parametrize(
    ("upstream", "told"),
    [
        (f"{NONE}connect_retries = 0", "/v1/a/c cannot be reached: Connection refused"),
        (
            f"{LOGIN}auth_type = v1password\nconnect_retries = 0",
            "cannot be reached",
        ),
    ],
)
def test_an_upstream_that_does_not_answer(
    deployment: Deployment, mistake: Callable[..., str], upstream: str, told: str
) -> None:
    section = upstream.replace("//h/", "//127.0.0.1:1/")
    deployment.configure(core="stores = file, swift", more=section)
    assert told in mistake("check")


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (None, "policy_file: file '{}' not found; create it, or correct the path (a relative one"),
        ("", "{}: is empty; for the default rules, remove the option policy_file"),
        (
            '"get_image": "!',
            "{}: is not YAML: found unexpected end of stream (line 1, column 16) (in",
        ),
        ("- a\n", "{}: must contain rules as NAME: RULE"),
        ('"get_image": "role:a or"', "{}: the rule 'get_image' ends too early: a check or a ) is"),
        ('"get_image": "admin"', "{}: the rule 'get_image': 'admin' is not a check such as role:"),
        ('"get_image": "rule:x"', "{}: undefined or circular rules"),
        ('"get_imag": "!"', "{}: the rule 'get_imag' is never used (did you mean 'get_image'?)"),
    ],
)
def test_policy_files(
    deployment: Deployment, mistake: Callable[..., str], rules: str | None, told: str
) -> None:
    path = deployment.folder / "policy.yaml"
    if rules is not None:
        path.write_text(rules)
    deployment.configure(more=f"[imageapi_policy_rules]\npolicy_file = {path}")
    assert told.format(path) in mistake("check")


@pytest.mark.parametrize(
    ("text", "rule_format", "told"),
    [
        (None, "roles", "property_protection_file: file '{}' not found; create it, or correct"),
        ("", "roles", "{}: has no section, so every property would be hidden; add a section for"),
        (
            "[^a$]\nread = @",
            "roles",
            "{}: section [^a$]: 'create' is missing; add it; its value ! ref",
        ),
        (f"[a(]\n{ALLOWED}", "roles", "{}: section [a(]: its name is not a regular expression: m"),
        (
            f"[a]\n{ALLOWED}",
            "role",
            "is not valid: Valid values are [roles, policies], but found 'role'",
        ),
        (f"[a]\n{ALLOWED}", "policies", "{}: the policy has no rule 'readers'; add it, or correc"),
    ],
)
def test_property_protection_files(
    deployment: Deployment,
    mistake: Callable[..., str],
    text: str | None,
    rule_format: str,
    told: str,
) -> None:
    path = deployment.folder / "property-protections.conf"
    if text is not None:
        path.write_text(text)
    core = f"property_protection_file = {path}\nproperty_protection_rule_format = {rule_format}"
    deployment.configure(core=core)
    assert told.format(path) in mistake("check")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[imageapi_stor_file]\nx = y", "is not used (did you mean 'imageapi_store_file'?)"),
        ("[imageapi-store-file]\nx = y", "is not used (did you mean 'imageapi_store_file'?)"),
        ("[imageapi_store_flie]\nx = y", "is not used (did you mean 'imageapi_store_file'?)"),
        ("[imageapi_store_http]\nx = y", "is not used: [imageapi] names no backend 'http' of th"),
        ("[imagepi]\nx = y", "is not used (did you mean 'imageapi'?)"),
        ("[keystone_authtoken]\nx = y", "is not used: imageapi serve knows no callers: run"),
        ("[DEFAULT]\nworkers = 4", "is not used: set [imageapi_serve] workers"),
    ],
)
def test_sections_that_nothing_reads(
    deployment: Deployment, mistake: Callable[..., str], text: str, told: str
) -> None:
    deployment.configure(more=text)
    assert told in mistake("check", status=0)


def test_the_policy_file_of_glance(deployment: Deployment, mistake: Callable[..., str]) -> None:
    deployment.configure(more="[oslo_policy]\npolicy_file = policy.yaml")
    told = "[oslo_policy] policy_file in {} is not used: set [imageapi_policy_rules] policy_file"
    for command in ("check", "serve"):
        assert told.format(deployment.config_file) in mistake(command)


@pytest.mark.parametrize(
    ("directory", "told"),
    [
        ("", "directory: is empty; set it to an absolute path"),
        ("images", "directory: 'images' is a relative path; write an absolute path"),
        ("{}", "so clients could download the records of [imageapi_registry_file]; separate the"),
    ],
)
def test_folders(
    deployment: Deployment, mistake: Callable[..., str], directory: str, told: str
) -> None:
    deployment.configure(core="stores = file, other:file")
    with deployment.config_file.open("a") as file:
        file.write(f"[imageapi_store_other]\ndirectory = {directory.format(deployment.folder)}\n")
    assert told in mistake("check")


def test_missing_and_wrong_folders(deployment: Deployment, mistake: Callable[..., str]) -> None:
    deployment.images.rmdir()
    assert f"{deployment.images}: No such file or directory" in mistake("check")
    deployment.images.write_text("")
    assert f"{deployment.images}: Not a directory" in mistake("check")


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2"),
        ("", "not JSON"),
        ("[]", "an image must be a JSON object, not a list"),
        ("{}", "status must be one of active, deactivated,"),
        ('{"status": "activ"}', "status must be one of active, deactivated,"),
        ('{"status": "active", "size": "big"}', "size must be a whole number, 0 or more, not 'bi"),
        ('{"status": "active", "checksum": "ab"}', "checksum must be an MD5, 32 hexadecimal dig"),
        ('{"status": "active", "is_public": "yes"}', "is_public must be true or false, not 'yes'"),
        ('{"status": "active", "created_at": "today"}', "must be a time such as 2010-02-03 09:34"),
        ('{"status": "active", "os_hash_algo": "md5"}', "os_hash_value must both be set, or nei"),
        ('{"status": "active", "location": 5}', "a location must be a URL"),
        ('{"status": "active", "members": "p"}', "members must be a list of project ids, not 'p"),
        ('{"status": "active", "id": "other"}', "it is the record of another image, 'other'"),
        ('{"images": []}', '"images" must contain one image, not 0'),
        ('{"status": "active", "visibility": "all"}', "visibility must be one of community, priv"),
    ],
)
def test_records(
    deployment: Deployment, mistake: Callable[..., str], record: str, told: str
) -> None:
    deployment.record_path("i").write_text(record)
    text = mistake("show", "i")
    assert f"{deployment.record_path('i')}: " in text
    assert told in text
    assert told in mistake("check", status=0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"location": f"rbd://u:{SECRET}@h/x"}, "rbd://h/x: no store opens a 'rbd' location"),
        ({"location": "file:///etc/passwd"}, "/etc/passwd is not below "),
        (
            {"locations": [{"url": "file:///x", "metadata": {"store": "archive"}}]},
            "no store named 'archive' opens a 'file' location",
        ),
        ({"size": 5}, "4 bytes, but the record says 5 bytes"),
    ],
)
def test_data(
    deployment: Deployment, mistake: Callable[..., str], fields: dict[str, Any], told: str
) -> None:
    deployment.add("i", b"data", **fields)
    assert told in mistake("show", "i")


def test_misspelt_key(deployment: Deployment, mistake: Callable[..., str]) -> None:
    deployment.add("i", b"data", stauts="deactivated")
    for words in (["show", "i"], ["verify", "i"], ["check"]):
        assert "key 'stauts' is not the name of a field (did you mean 'status'?)" in mistake(
            *words, status=0
        )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("chekc", "invalid choice: 'chekc' (choose from"),
        ("serve --port 99999", "'99999' is not a port from 1 to 65535"),
        ("serve --port http", "'http' is not a whole number"),
        ("serve --workers 0", "'0' is not a positive number"),
        ("serve --threads -1", "'-1' is not a whole number"),
        ("show a/b", "'a/b' is not a valid image id: no slash"),
        ("show detail", "'detail' is not a valid image id"),
        ("verify", "name images, or give --all"),
        ("verify i --remove-orphans", "--remove-orphans needs --all"),
        ("import --from x", "name images, or give --all"),
        ("set i", "name something to change"),
        ("add FILE", "one of the arguments --public --private is required"),
        ("add FILE --public --disk-format qcow", "'qcow' is no disk format: did you mean 'qcow2'"),
        ("add FILE --public --container-format x", "'x' is no container format: use one of aki,"),
        ("add FILE --public --property p", "'p' is not K=V"),
        ("add FILE --public --checksum ab", "'ab' is neither an MD5 (32 hexadecimal digits) nor"),
        ("add FILE --public --min-ram 1G", "'1G' is not a whole number"),
        ("check --config-fil", "expected one argument"),
    ],
)
def test_command_lines(mistake: Callable[..., str], words: str, told: str) -> None:
    assert told in mistake(*words.split(), status=2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("show absent", "image absent: registry 'file': no record"),
        ("set absent --public", "image absent: no record"),
        ("set i --remove-property p", "image i: there is no property 'p'"),
        ("remove i", "image i: it is protected: first run 'imageapi set i --no-protected'"),
        ("add /absent.img --public", "/absent.img: No such file or directory"),
        ("add /etc --public", "/etc: Is a directory"),
        ("add {} --public --store archive", "no store is named 'archive'; there are: file"),
        ("add {} --public --id i", "image i: it exists already"),
        ("add {} --public --id orphan", "images/orphan exists already, without a record of this"),
        ("add {} --public --id orphan", "choose another id, or remove the file if 'imageapi ve"),
        ("add {} --public --checksum " + 32 * "0", "the data has the checksum "),
        ("add --location file:///absent --public", "/absent is not below "),
        ("import i --from /absent.conf", "Failed to find some config files: /absent.conf"),
        ("export i --to {}", "Not a directory"),
        ("drivers swfit", "no driver is named 'swfit'; imageapi drivers lists all"),
        ("check --config-file /absent.conf", "Failed to find some config files: /absent.conf"),
        ("serve --host nowhere.invalid", "the host 'nowhere.invalid' has no address: choose ano"),
        ("serve --host 192.0.2.1", "this machine does not have the address: choose another w"),
    ],
)
def test_commands(
    deployment: Deployment, mistake: Callable[..., str], words: str, told: str
) -> None:
    deployment.add("i", b"data", protected=True)
    deployment.data_path("orphan").write_bytes(b"data")
    assert told in mistake(*words.format(deployment.config_file).split())


def test_port_in_use(mistake: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        told = mistake("serve", "--port", port)
    assert told == (
        f"imageapi: cannot listen on 127.0.0.1:{port}: Address already in use; another process"
        " listens there: choose another with --host and --port, or [imageapi_serve] bind\n"
    )


@pytest.mark.parametrize("text", ["chunk_size = 1\n", "[imageapi\n", f"[imageapi]\n{SECRET}\n"])
def test_files_that_are_no_configuration(
    deployment: Deployment, mistake: Callable[..., str], text: str
) -> None:
    deployment.config_file.write_text(text)
    told = mistake("check")
    assert "imageapi: the configuration cannot be read: " in told
    assert str(deployment.config_file) in told


def test_a_configuration_in_another_encoding(
    deployment: Deployment, mistake: Callable[..., str]
) -> None:
    deployment.config_file.write_bytes(b"[imageapi]\nregistry = f\xefle\n")
    assert mistake("check") == (
        f"imageapi: the configuration cannot be read: {deployment.config_file}: not UTF-8: byte"
        " 0xef at offset 23; encode the text in UTF-8\n"
    )


def test_full_disk(
    deployment: Deployment, mistake: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    told = mistake("add", str(deployment.config_file), "--public", "--id", "i")
    assert f"image i: {deployment.data_path('i')}: No space left on device" in told
    assert not deployment.record_path("i").exists()


def test_no_permission(
    deployment: Deployment, mistake: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user that runs the tests may read everything."""
    deployment.add("i", b"data")
    real = os.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        if str(path).startswith(str(deployment.folder)):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    assert f"{deployment.images}: Permission denied" in mistake("check")
    assert f"{deployment.record_path('i')}: Permission denied" in mistake("show", "i")


@pytest.mark.parametrize("option", ["ca_file", "cert_file"])
def test_a_file_that_holds_no_certificate(
    deployment: Deployment, mistake: Callable[..., str], option: str
) -> None:
    wrong = deployment.config_file
    deployment.configure(core="stores = file, http", more=f"{HTTP}{option} = {wrong}")
    assert f"{option}: {wrong}: not usable; it must hold " in mistake("check")


def test_no_configuration_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("IMAGEAPI_CONFIG_FILE", raising=False)
    main.main(["check"])
    assert "looked for ~/.imageapi/imageapi.conf, ~/imageapi.conf, /etc/imag" in caplog.text
    assert "name another file with --config-file" in caplog.text


def test_serve_with_a_missing_folder(
    deployment: Deployment, mistake: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and does not prevent the start."""
    deployment.images.rmdir()
    monkeypatch.setattr(server.Server, "run", lambda self: self._app.close())
    told = f"store 'file': {deployment.images}: No such file or directory; correct this; until"
    assert told in mistake("serve", "--port", str(free_port()), status=0)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("bind = 9292", "[imageapi_serve] bind: '9292' must be ADDRESS:PORT, such as 127.0.0.1:92"),
        ("bind = 127.0.0.1:0", "with a port from 1 to 65535"),
        ("bind =", "[imageapi_serve] bind: must name an ADDRESS:PORT"),
        ("metrics_bind = x", "[imageapi_serve] metrics_bind: 'x' must be ADDRESS:PORT"),
        ("bind = 192.0.2.1:9292", "192.0.2.1:9292: Cannot assign requested address; this machine"),
        ("metrics_bind = 192.0.2.1:80", "choose another with [imageapi_serve] metrics_bind"),
        ("workers = 0", "greater than or equal to 1, but found '0'"),
        ("workers = two", "'two' is not a whole number"),
        ("wrkers = 2", "there is no such option (did you mean 'workers'?)"),
        ("log_format = xml", "Valid values are [text, json], but found 'xml'"),
        ("private_key = /absent", "[imageapi_serve] private_key: set certificate too"),
        ("certificate = /absent", "certificate: /absent cannot be read: No such file or directory"),
        ("certificate = {}", "certificate: {} must be a PEM file with a certificate, its chain"),
        ("log_file = /absent/x", "[imageapi_serve] log_file: /absent/x cannot be written: create"),
    ],
)
def test_options_of_serve(
    deployment: Deployment, mistake: Callable[..., str], lines: str, told: str
) -> None:
    file = deployment.config_file
    bind = "" if lines.startswith("bind") else f"bind = 127.0.0.1:{free_port()}\n"
    deployment.configure(more=f"[imageapi_serve]\n{bind}{lines.format(file)}")
    assert told.format(file) in mistake("serve")
