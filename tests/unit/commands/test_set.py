# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest

from imageapi.backends.file.record_writer import FileRecordWriter
from tests.deployment import Deployment, get
from tests.unit.commands.conftest import Run


def record_of_i(deployment: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(deployment.record_path("i").read_text())
    return found


def test_all_options(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data", members=["p1"], properties={"a": "b", "c": "d"}, unknown=[1])
    words = (
        "--name n --disk-format raw --container-format bare --min-disk 5 --min-ram 256 --private"
        " --owner p0 --protected --member p2 --remove-member p1 --property a=x=y"
        " --remove-property c"
    )
    assert run("set", "i", *words.split()) == (0, "", "")
    found = record_of_i(deployment)
    assert found.pop("updated_at")
    assert {name: found[name] for name in ("size", "checksum")} == {
        "size": 4,
        "checksum": "8d777f385d3dfec8815d20f7496026dc",
    }
    assert found == {
        **found,
        "name": "n",
        "disk_format": "raw",
        "container_format": "bare",
        "min_disk": 5,
        "min_ram": 256,
        "is_public": False,
        "owner": "p0",
        "protected": True,
        "members": ["p2"],
        "properties": {"a": "x=y"},
        "unknown": [1],
        "status": "active",
    }
    assert run("set", "i", "--no-protected", "--public", "--remove-member", "p2")[0] == 0
    found = record_of_i(deployment)
    assert (found["protected"], found["is_public"], found["members"]) == (False, True, [])


def test_data_is_still_served(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data")
    assert run("set", "i", "--name", "n")[0] == 0
    api = deployment.api()
    response = get(api, "/v1/images/i")
    assert (response.body, response.headers["X-Image-Meta-Name"]) == (b"data", "n")
    api.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("absent --name n", "image absent: no record"),
        ("i --remove-property x", "image i: there is no property 'x'"),
        ("i --remove-member p", "image i: project 'p' is no member"),
        ("malformed --name n", "image malformed: status must be one of"),
    ],
)
def test_what_cannot_be_set(deployment: Deployment, run: Run, words: str, told: str) -> None:
    deployment.add("i", b"data")
    deployment.record("malformed", status="actve")
    before = [path.read_bytes() for path in sorted(deployment.registry.iterdir())]
    status, out, err = run("set", *words.split())
    assert (status, out) == (1, "")
    assert err.startswith(f"imageapi: {told}")
    assert [path.read_bytes() for path in sorted(deployment.registry.iterdir())] == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("i", "name something to change"),
        ("i --public --private", "not allowed with argument"),
        ("i --disk-format qcow", "did you mean 'qcow2'?"),
        ("a/b --name n", "is not a valid image id"),
    ],
)
def test_wrong_command_line(run: Run, words: str, told: str) -> None:
    status, _, err = run("set", *words.split())
    assert status == 2
    assert told in err


def test_private_without_owner(deployment: Deployment, run: Run) -> None:
    deployment.add("i", b"data")
    status, _, err = run("set", "i", "--private")
    assert (status, record_of_i(deployment)["is_public"]) == (0, False)
    assert "only admins can see it" in err


def test_registry_that_cannot_be_written_to(deployment: Deployment, run: Run) -> None:
    deployment.configure(core="registry = memory")
    told = "imageapi: registry 'memory' (driver 'memory') cannot be written to\n"
    assert run("set", "i", "--name", "n") == (1, "", told)


def test_folder_that_is_not_writable(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.add("i", b"data")
    before = deployment.record_path("i").read_bytes()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(deployment.registry))

    monkeypatch.setattr("imageapi.backends.file.new_file.NewFile._open", refuse)
    told = f"imageapi: image i: {deployment.registry}: Permission denied\n"
    assert run("set", "i", "--name", "n") == (1, "", told)
    assert deployment.record_path("i").read_bytes() == before


def test_record_that_is_changed_meanwhile(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.add("i", b"data")
    real = FileRecordWriter.replace

    def replace(self: FileRecordWriter, image_id: str, old: bytes, new: bytes) -> None:
        deployment.add("i", b"data", name="theirs")
        real(self, image_id, old, new)

    monkeypatch.setattr(FileRecordWriter, "replace", replace)
    status, _, err = run("set", "i", "--name", "ours")
    assert (status, record_of_i(deployment)["name"]) == (1, "theirs")
    assert f"{deployment.record_path('i')} was changed meanwhile: try again" in err
