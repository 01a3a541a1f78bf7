# SPDX-License-Identifier: Apache-2.0
import errno
import importlib.metadata
import os
from typing import Any

import pytest

from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.cache import folder
from imageapi.commands import check
from imageapi.errors import BackendUnavailable
from tests.cached import CACHE
from tests.deployment import Deployment
from tests.property_protections import protection_file
from tests.unit.commands.conftest import Run


def test_fine(deployment: Deployment, run: Run) -> None:
    deployment.configure(
        core="stores = fast:file, file",
        more=f"[imageapi_store_fast]\ndirectory = {deployment.images}",
    )
    status, out, _ = run("check")
    assert status == 0
    of_ours = f"of imageapi {importlib.metadata.version('imageapi')}): ok"
    assert out.splitlines() == [
        f"registry 'file' (driver 'file' {of_ours}, directory {deployment.registry}",
        f"store 'fast' (driver 'file' {of_ours}, directory {deployment.images}",
        f"store 'file' (driver 'file' {of_ours}, directory {deployment.images}",
        f"policy 'rules' (driver 'rules' {of_ours}, the default rules (policy_file is not set)",
    ]


def test_property_protections(deployment: Deployment, run: Run) -> None:
    path = protection_file(deployment.folder, {"a": "member", "b": "@"})
    deployment.configure(core=f"property_protection_file = {path}")
    status, out, _ = run("check")
    assert (status, out.splitlines()[-1]) == (0, "property protections: ok, 2 sections")


@pytest.mark.parametrize(
    ("result", "told", "logged"),
    [
        (lambda: None, "check() must return a str, not NoneType", ""),
        (
            lambda: [][0],
            "store 'file' raised IndexError",
            "IndexError: list index",
        ),
    ],
)
def test_bug_of_a_backend(
    run: Run,
    result: Any,
    told: str,
    logged: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(FileStore, "check", lambda _self: result())
    status, out, _ = run("check")
    assert status == 1
    assert told in out
    assert logged in caplog.text
    assert ("Traceback" in caplog.text) is bool(logged)


def test_broken(deployment: Deployment, run: Run) -> None:
    deployment.images.rmdir()
    status, shown, _ = run("check")
    assert status == 1
    assert f"{deployment.images}: No such file or directory" in shown
    assert shown.count(": ok") == 2


def test_misspelt_rule(deployment: Deployment, run: Run, caplog: pytest.LogCaptureFixture) -> None:
    rules = deployment.folder / "policy.yaml"
    deployment.configure(more=f"[imageapi_policy_rules]\npolicy_file = {rules}")
    rules.write_text('"download_images": "!"\n')
    status, shown, _ = run("check")
    assert status == 1
    assert (
        "the rule 'download_images' is never used (did you mean 'download_image'?);"
        " correct its name, or remove it" in shown
    )
    rules.write_text('"nobody": "!"\n')
    status, shown, _ = run("check")
    assert status == 1
    assert "the rule 'nobody' is never used (imageapi uses get_image, " in shown
    rules.write_text('"get_images": "!"\n"default": "role:admin"\n')
    caplog.clear()
    assert run("check")[0] == 0
    assert caplog.text.count("these rules are never used: default") == 1


@pytest.mark.parametrize(
    ("serve", "told"),
    [
        ("", "each process counts alone (PROMETHEUS_MULTIPROC_DIR is not set)"),
        ("metrics_bind = 127.0.0.1:1", "serve adds up the counts of all its processes"),
    ],
)
def test_metrics(deployment: Deployment, run: Run, serve: str, told: str) -> None:
    """serve itself sets the variable."""
    deployment.configure(core="events = prometheus", more=f"[imageapi_serve]\n{serve}")
    status, shown, _ = run("check")
    assert status == 0
    assert shown.splitlines()[-1].endswith(f": ok, {told}")


def test_record_that_is_not_utf8(deployment: Deployment, run: Run) -> None:
    deployment.record_path("a").write_bytes(b'{"name": "Caf\xe9"}')
    _, shown, _ = run("check")
    assert shown.splitlines()[-1].endswith(
        ": not UTF-8: byte 0xe9 at offset 13; encode the text in UTF-8"
    )


def test_wrong_records_are_told_and_are_no_reason_to_fail(deployment: Deployment, run: Run) -> None:
    deployment.record("a", stauts="deactivated")
    deployment.record_path("b").write_text("{")
    status, shown, _ = run("check")
    assert status == 0
    first, second = shown.splitlines()[-2:]
    assert {first[:9], second[:9]} == {"image a: ", "image b: "}
    assert "(did you mean 'status'?)" in shown
    assert "not JSON" in shown


def test_only_the_first_records_are_read(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_MOST_RECORDS", 1)
    for image_id in ("a", "b"):
        deployment.record(image_id)
    _, shown, _ = run("check")
    assert shown.splitlines()[-1] == (
        "registry 'file': only the first 1 records were read; verify reads all"
    )


def test_records_that_cannot_be_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileRegistry, "image_ids", lambda _self: None)
    assert run("check")[0] == 0

    def fail(_: Any) -> Any:
        raise BackendUnavailable("down")

    monkeypatch.setattr(FileRegistry, "image_ids", fail)
    status, shown, _ = run("check")
    assert status == 0
    assert shown.splitlines()[-1] == "registry 'file': its records cannot be listed: down"


def test_a_record_that_was_removed_meanwhile(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileRegistry, "image_ids", lambda _self: iter(["gone"]))
    status, shown, _ = run("check")
    assert status == 0
    assert "gone" not in shown


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("[imageapi_serve]\nbind = 127.0.0.1", "[imageapi_serve] bind: '127.0.0.1' must be"),
        ("[imageapi_serve]\nbind = h:99999", "[imageapi_serve] bind: 'h:99999' must be"),
        ("[imageapi_serve]\nworkers = many", "imageapi.conf is not valid: 'many' is not a"),
        ("[imageapi_serve]\nwokers = 2", "[imageapi_serve] wokers: there is no such option"),
        ("[imageapi_serve]\nmetrics_bind = h:1", "metrics_bind: needs the driver prometheus"),
        ("[imageapi_serve]\ncertificate = /absent", "certificate: /absent cannot be read"),
        ("[imageapi_server]\nworkers = 2", "[imageapi_server] there is no such section (did you"),
    ],
)
def test_section_of_serve_is_checked(
    deployment: Deployment, run: Run, more: str, told: str
) -> None:
    deployment.configure(more=more)
    status, _, err = run("check")
    assert status == 1
    assert told in err


def test_section_of_serve_is_checked_by_other_commands(deployment: Deployment, run: Run) -> None:
    deployment.configure(more="[imageapi_serve]\nworkers = many")
    status, _, err = run("list")
    assert status == 1
    assert "[imageapi_serve] workers: Value for option workers" in err


def test_cache(deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = deployment.folder / "cache"
    deployment.configure(more=CACHE.format(directory=directory))
    status, shown, _ = run("check")
    assert status == 1
    mend = "; it must be a folder into which the user of the service can write"
    assert shown.splitlines()[-1] == f"cache: {directory}: No such file or directory{mend}"
    directory.mkdir()
    status, shown, _ = run("check")
    assert status == 0
    ok = f"cache: ok, directory {directory}, 0 of 10737418240 bytes used"
    assert shown.splitlines()[-1] == ok
    monkeypatch.setattr(folder, "file_system_of", lambda _: "nfs4")
    status, shown, _ = run("check")
    assert status == 1
    assert shown.splitlines()[-1].startswith(f"cache: {directory} is on nfs4, which other hosts")


def test_cache_that_is_read_only(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    deployment.configure(more=CACHE.format(directory=deployment.folder))
    # root may write to any folder, so its mode is no test.
    monkeypatch.setattr(folder, "remove_leftovers", refuse)
    status, shown, _ = run("check")
    begin = f"cache: {deployment.folder}: Read-only file system; it must be a folder into which"
    assert (status, shown.splitlines()[-1].startswith(begin)) == (1, True)
