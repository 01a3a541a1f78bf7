# SPDX-License-Identifier: Apache-2.0
import argparse
import json
import logging

import pytest

from imageapi.backends.file.registry import FileRegistry
from imageapi.caller import ANONYMOUS, Caller
from imageapi.commands import made_up_caller
from imageapi.errors import BackendUnavailable, ConfigurationError, ImageAPIError
from imageapi.policy.rules import RulesPolicy
from tests.deployment import Deployment
from tests.property_protections import protection_file
from tests.unit.commands.conftest import Run


def flags(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    made_up_caller.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "caller", "text"),
    [
        ((), None, ""),
        (("--as-anonymous",), ANONYMOUS, "anonymous"),
        (
            ("--as-user", "u", "--as-project", "p", "--as-role", "r", "--as-role", "s"),
            Caller(user_id="u", project_id="p", roles=("r", "s")),
            "user 'u', project 'p', roles 'r', 's', not an admin",
        ),
        (
            ("--as-role", "Operator"),
            Caller(roles=("Operator",), is_admin=True),
            "no user, no project, roles 'Operator', an admin",
        ),
    ],
)
def test_caller_of_the_flags(words: tuple[str, ...], caller: Caller | None, text: str) -> None:
    found = made_up_caller.caller_of(flags(*words), ["operator"])
    assert found == caller
    assert found is None or made_up_caller.text_of(found) == text


def test_flags_that_contradict_each_other() -> None:
    with pytest.raises(ImageAPIError, match="--as-anonymous excludes --as-user"):
        made_up_caller.caller_of(flags("--as-anonymous", "--as-role", "r"), [])


def test_empty_and_unreadable_flags(run: Run) -> None:
    assert "must not be empty; use --as-anonymous alone" in run("check", "--as-user", "")[2]
    assert "is not UTF-8" in run("check", "--as-user", "\udcff")[2]


@pytest.mark.parametrize(
    "address", ["0.0.0.0:9292", "[::]:9292", "192.0.2.1:9292", "localhost:9292"]
)
def test_only_loopback_addresses(run: Run, address: str) -> None:
    made_up_caller.refuse_other_machines(["127.0.0.1:9292", "127.8.8.8:1", "[::1]:9292"])
    with pytest.raises(ConfigurationError) as refused:
        made_up_caller.refuse_other_machines(["127.0.0.1:9292", address])
    (problem,) = refused.value.problems
    assert problem.startswith(f"cannot listen on {address} with a made-up caller")


def test_serve_refuses_other_addresses(deployment: Deployment, run: Run) -> None:
    status, _, error = run("serve", "--host", "0.0.0.0", "--as-role", "admin")
    assert (status, error.count("\n")) == (1, 1)
    assert "cannot listen on 0.0.0.0:9292 with a made-up caller" in error
    deployment.configure(more="[imageapi_serve]\nbind = 127.0.0.1:9292, [::]:9292")
    assert "cannot listen on [::]:9292" in run("serve", "--as-anonymous")[2]


@pytest.mark.parametrize("name", ["LISTEN_FDS", "GUNICORN_FD"])
def test_no_sockets_that_others_opened(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert f"imageapi: {name} is set: a server with a made-up" in run("serve", "--as-anonymous")[2]


def test_warning(caplog: pytest.LogCaptureFixture) -> None:
    made_up_caller.warn_of(None)
    assert not caplog.records
    made_up_caller.warn_of(ANONYMOUS)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        "FOR TRIALS ONLY: every request is answered as the made-up caller (anonymous)"
    )


@pytest.fixture
def ruled(deployment: Deployment) -> Deployment:
    """Images that differ in who may have them; property ``a`` is for the role ``reader``."""
    policy = deployment.folder / "policy.yaml"
    policy.write_text(
        '"get_images": "not role:nobody"\n"get_image": "not role:blind"\n'
        '"download_image": "role:reader"\n"get_members": "project_id:%(owner)s"\n'
    )
    protections = protection_file(deployment.folder, {"a": "reader", "b": "@"})
    deployment.configure(
        core=f"property_protection_file = {protections}",
        more=f"[imageapi_policy_rules]\npolicy_file = {policy}",
    )
    deployment.add("open", b"data", owner="p1", members=["p2"], properties={"a": "1", "b": "2"})
    deployment.add("private", b"data", owner="p1", is_public=False)
    deployment.record("queued", status="queued", size=None)
    return deployment


def test_check_of_each_image(ruled: Deployment, run: Run) -> None:
    ruled.record_path("wrong").write_text("{")
    status, out, _ = run("check", "--as-role", "reader", "--as-project", "p2")
    told = sorted(
        line for line in out.splitlines() if line.startswith(("caller", "lists", "image"))
    )
    allowed = "get_image allowed, download_image allowed, get_members refused"
    hidden = "absent or hidden for this caller, so GET gets"
    assert status == 0
    assert told[:5] == [
        "caller: no user, project 'p2', roles 'reader', not an admin",
        f"image open: {allowed}",
        f"image private: {hidden} 404",
        f"image queued: {allowed}; no data: its status is 'queued'",
        told[4],
    ]
    assert told[-1] == "lists: get_images allowed"
    assert f"image wrong: {hidden} 404" in told


def test_check_of_named_images(ruled: Deployment, run: Run) -> None:
    _, out, _ = run("check", "--as-project", "p1", "--as-role", "nobody", "private", "absent")
    assert out.splitlines()[-3:] == [
        "lists: get_images refused",
        "image private: get_image allowed, download_image refused, get_members allowed",
        "image absent: absent or hidden for this caller, so GET gets 403",
    ]


def test_check_of_an_admin(ruled: Deployment, run: Run) -> None:
    ruled.record_path("private").write_text("{")
    _, out, _ = run("check", "--as-role", "admin", "private")
    assert out.splitlines()[-3].endswith("roles 'admin', an admin")
    assert "not JSON" in out.splitlines()[-1]


def test_check_of_ids_needs_a_caller(ruled: Deployment, run: Run) -> None:
    assert run("check", "open")[::2] == (
        1,
        "imageapi: an ID needs a made-up caller: give --as-role, or --as-anonymous\n",
    )


def test_check_of_a_registry_without_a_list_of_ids(
    ruled: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileRegistry, "image_ids", lambda self: None)
    _, out, _ = run("check", "--as-anonymous")
    assert out.splitlines()[-1].startswith("registry 'file' does not say which images it has")
    assert "image open: get_image allowed" in run("check", "--as-anonymous", "open")[1]


def test_check_of_a_registry_whose_list_fails(
    ruled: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FileRegistry) -> None:
        raise BackendUnavailable("down")

    monkeypatch.setattr(FileRegistry, "image_ids", fail)
    status, out, _ = run("check", "--as-anonymous")
    assert (status, out.count("down")) == (0, 1)


def test_show_what_the_caller_sees(ruled: Deployment, run: Run) -> None:
    status, out, _ = run("show", "open", "--as-role", "other", "--as-project", "p2")
    assert status == 0
    assert "Property-B: 2" in out
    assert "Property-A" not in out
    assert "Members" not in out
    assert "Data" not in out
    policy = "Policy: get_image allowed, download_image refused, get_members refused"
    assert out.splitlines()[-1] == policy
    _, out, _ = run("show", "open", "--as-role", "reader", "--as-project", "p1")
    for text in ("Property-A: 1", "Members: p2", "download_image allowed", "Data: store 'file'"):
        assert text in out
    _, out, _ = run("show", "queued", "--as-role", "reader")
    assert "no data: its status is 'queued'" in out.splitlines()[-1]


def test_show_as_json(ruled: Deployment, run: Run) -> None:
    shown = json.loads(run("show", "--json", "open", "--as-anonymous")[1])
    assert (shown["properties"], shown.get("members")) == ({"b": "2"}, None)


@pytest.mark.parametrize(
    ("image", "role", "told"),
    [
        ("private", "reader", "absent or hidden for this caller, so GET gets 404"),
        ("open", "blind", "get_image refused, download_image refused, get_members refused"),
    ],
)
def test_show_what_the_caller_may_not_see(
    ruled: Deployment, run: Run, image: str, role: str, told: str
) -> None:
    status, out, error = run("show", image, "--as-role", role)
    caller = f"(caller: no user, no project, roles '{role}', not an admin)"
    assert (status, out, error) == (1, "", f"imageapi: image {image}: {told} {caller}\n")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (BackendUnavailable("no answer"), "no answer"),
        (RuntimeError("a secret"), "policy 'rules' raised RuntimeError"),
    ],
)
def test_policy_that_fails_is_not_shown_as_one_that_refuses(
    ruled: Deployment,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
    told: str,
) -> None:
    def fail(*_: object) -> bool:
        raise failure

    monkeypatch.setattr(RulesPolicy, "allows", fail)
    cause = f"policy 'rules' cannot decide get_image: {told}"
    status, out, error = run("show", "open", "--as-role", "reader")
    assert (status, out, error) == (1, "", f"imageapi: image open: {cause}\n")
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == isinstance(failure, RuntimeError)
    status, out, _ = run("check", "--as-role", "reader", "open")
    assert out.splitlines()[-2:] == [
        f"lists: policy 'rules' cannot decide get_images: {told}",
        f"image open: {cause}",
    ]
