# SPDX-License-Identifier: Apache-2.0
"""Real clients of v1 that begin with a list, over a real socket."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from glanceclient.v1.client import Client

from tests.functional.listing_app import data_of
from tests.functional.openstack import ENVIRONMENTS
from tests.functional.servers import free_port, running
from tests.paths import BIN, ROOT

CONFIG = """\
[imageapi]
registry = memory
stores = memory
policy = visible
limit_param_default = 4
"""

UMLAUTS = "\u00dcbuntu 10.04 gr\u00f6\u00dfe"


def listed_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def added_image(number: int, **fields: Any) -> dict[str, Any]:
    day = {"disk_format": "raw", "container_format": "bare"}
    return {"id": listed_id(number), "name": f"image {number}", **day, **fields}


IMAGES = [
    added_image(1, name="fedora:25", disk_format="qcow2", min_ram=512, properties={"os": "linux"}),
    added_image(2, name=UMLAUTS, properties={"farbe": "gr\u00fcn"}),
    added_image(3, name="twice", disk_format="iso"),
    added_image(4, name="twice", container_format="ovf"),
    added_image(5, name="mine", is_public=False, owner="p1"),
    added_image(6, name="shared", is_public=False, owner="p2", members=["p1", "p3"]),
    added_image(7, name="hidden", is_public=False, owner="p2", protected=True),
    added_image(8, name="queued", status="queued"),
    added_image(9, name=None, disk_format=None, container_format=None),
    added_image(10, owner="p1"),
]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def served_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("lists")
    config = folder / "imageapi.conf"
    config.write_text(CONFIG)
    settings = folder / "settings.json"
    settings.write_text(json.dumps({"config_file": str(config), "images": IMAGES}))
    port = free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "--worker-class=gthread", "--threads=4"),
        *("--no-control-socket", f"--pythonpath={ROOT}", f"--bind=127.0.0.1:{port}"),
        f"tests.functional.listing_app:build_listing({str(settings)!r})",
    ]
    with running(command, port, folder / "server.log"):
        yield f"http://127.0.0.1:{port}"


def run_program(*command: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUTF8": "1"},
        check=False,
    )


# python-glanceclient.


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 8, 9, 10]),
        ({"page_size": 2}, [1, 2, 3, 4, 5, 6, 8, 9, 10]),
        ({"page_size": 2, "limit": 3}, [8, 9, 10]),
        ({"filters": {"name": "fedora:25"}}, [1]),
        ({"filters": {"name": UMLAUTS}}, [2]),
        ({"filters": {"status": "queued"}}, [8]),
        ({"filters": {"container_format": "ovf"}}, [4]),
        ({"filters": {"disk_format": "iso"}}, [3]),
        ({"filters": {"size_min": 36_001}}, []),
        ({"filters": {"size_max": 36_000, "name": "mine"}}, [5]),
        ({"filters": {"min_ram": 512}}, [1]),
        ({"filters": {"properties": {"farbe": "gr\u00fcn"}}}, [2]),
        ({"filters": {"changes-since": "2010-01-01"}}, []),
        ({"is_public": False}, [1, 2, 3, 4, 5, 6, 8, 9, 10]),
        ({"owner": "p1"}, [5, 10]),
        ({"owner": ""}, [1, 2, 3, 4, 8, 9]),
        ({"sort_key": "name", "sort_dir": "asc", "limit": 2, "page_size": 1}, [9, 1]),
    ],
)
def test_glanceclient(served_url: str, wanted: dict[str, Any], numbers: list[int]) -> None:
    listed = list(Client(served_url, token="user").images.list(**wanted))
    assert sorted(one.id for one in listed) == sorted(listed_id(number) for number in numbers)
    if "sort_key" in wanted:
        assert [one.id for one in listed] == [listed_id(number) for number in numbers]


def test_glanceclient_of_an_admin(served_url: str) -> None:
    client = Client(served_url, token="admin")
    assert len(list(client.images.list())) == 7
    assert len(list(client.images.list(is_public=None, page_size=3))) == 10
    assert len(list(client.images.list(is_public=False))) == 3
    assert len(list(client.images.list(is_public=None, owner="p2"))) == 2


def test_glanceclient_reads_the_values(served_url: str) -> None:
    (listed,) = Client(served_url, token="user").images.list(filters={"name": UMLAUTS})
    assert (listed.name, listed.properties) == (UMLAUTS, {"farbe": "gr\u00fcn"})
    assert (listed.size, listed.is_public, listed.deleted) == (36_000, True, False)


def test_glanceclient_members(served_url: str) -> None:
    client = Client(served_url, token="admin")
    assert [one.member_id for one in client.image_members.list(image=listed_id(6))] == ["p1", "p3"]
    assert [one.image_id for one in client.image_members.list(member="p3")] == [listed_id(6)]
    client = Client(served_url, token="user")
    assert [one.member_id for one in client.image_members.list(image=listed_id(6))] == ["p1"]
    assert [one.image_id for one in client.image_members.list(member="p1")] == [listed_id(6)]
    assert list(client.image_members.list(member="p3")) == []


def glance_client(url: str, token: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command ``glance``, which asks for versions and lists before it does what it is for."""
    access = ("--os-image-url", url, "--os-auth-token", token)
    return run_program(BIN / "glance", "--os-image-api-version", "1", *access, *words)


def numbers_in(table: str) -> list[int]:
    """The numbers of the images in a table that a command has printed."""
    return [number for number in range(1, 11) if listed_id(number) in table]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--name", UMLAUTS], [2]),
        (["--property-filter", "os=linux", "--sort-key", "name", "--sort-dir", "desc"], [1]),
        (["--all-tenants", "--page-size", "2"], [1, 2, 3, 4, 5, 6, 8, 9, 10]),
    ],
)
def test_glance_image_list(served_url: str, words: list[str], numbers: list[int]) -> None:
    assert numbers_in(glance_client(served_url, "user", "image-list", *words).stdout) == numbers


def test_glance_image_list_of_all_projects(served_url: str) -> None:
    listed = glance_client(served_url, "admin", "image-list", "--all-tenants", "--page-size", "3")
    assert numbers_in(listed.stdout) == list(range(1, 11))


@pytest.mark.parametrize(("name", "number"), [("fedora:25", 1), (UMLAUTS, 2)])
def test_glance_finds_an_image_by_its_name(
    served_url: str, tmp_path: Path, name: str, number: int
) -> None:
    assert numbers_in(glance_client(served_url, "user", "image-show", name).stdout) == [number]
    target = tmp_path / "image"
    assert (
        glance_client(served_url, "user", "image-download", "--file", str(target), name).returncode
        == 0
    )
    assert target.read_bytes() == data_of({"id": listed_id(number)})


def test_glance_finds_no_image(served_url: str) -> None:
    assert (
        "No image with a name or ID of 'hidden' exists"
        in glance_client(served_url, "user", "image-show", "hidden").stderr
    )
    assert (
        "Multiple image matches" in glance_client(served_url, "user", "image-show", "twice").stderr
    )


def test_glance_member_list(served_url: str) -> None:
    by_image = glance_client(served_url, "admin", "member-list", "--image-id", listed_id(6)).stdout
    assert numbers_in(by_image) == [6]
    assert "p1" in by_image
    assert "p3" in by_image
    assert numbers_in(
        glance_client(served_url, "user", "member-list", "--tenant-id", "p1").stdout
    ) == [6]


# openstackclient.


def openstack(url: str, token: str, *words: str) -> Any:
    """What ``openstack`` prints as JSON.  Without a catalogue, its endpoint has the version."""
    access = ("--os-auth-type", "admin_token", "--os-token", token, "--os-endpoint", f"{url}/v1")
    program = ENVIRONMENTS / "openstackclient" / "bin" / "openstack"
    done = run_program(
        program, *access, "--os-image-api-version", "1", "image", *words, "-f", "json"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_openstack_image_list(served_url: str) -> None:
    """It asks for no second page: it shows the images of the server's default page.

    Without ``--sort``, it compares names, and fails if an image has none.
    """
    listed = openstack(served_url, "user", "list", "--sort", "id")
    assert {one["ID"] for one in listed} == {listed_id(number) for number in (6, 8, 9, 10)}


@pytest.mark.parametrize(("name", "number"), [(UMLAUTS, 2), ("mine", 5)])
def test_openstack_image_show(served_url: str, name: str, number: int) -> None:
    assert openstack(served_url, "user", "show", name)["id"] == listed_id(number)


def test_openstack_finds_the_version_by_itself(served_url: str) -> None:
    """The endpoint of a catalogue has no version, so the client reads the version document."""
    program = ENVIRONMENTS / "openstackclient" / "bin" / "openstack"
    access = ("--os-auth-type", "none", "--os-endpoint", served_url, "--os-image-api-version", "1")
    done = run_program(program, *access, "image", "show", UMLAUTS, "-f", "value", "-c", "id")
    assert done.stdout.split() == [listed_id(2)], done.stderr


# glance-replicator.


def replicator(token: str, *words: Any) -> "subprocess.CompletedProcess[str]":
    program = ENVIRONMENTS / "glance" / "bin" / "glance-replicator"
    return run_program(program, "--token", token, *words)


def test_replicator_size(served_url: str) -> None:
    host = served_url.removeprefix("http://")
    assert "324000 bytes" in replicator("admin", "size", host).stdout
    assert "across 9 images" in replicator("admin", "size", host).stdout


def test_replicator_dump(served_url: str, tmp_path: Path) -> None:
    done = replicator("user", "dump", served_url.removeprefix("http://"), tmp_path)
    assert done.returncode == 0, done.stderr
    numbers = (1, 2, 3, 4, 5, 6, 8, 9, 10)
    assert {path.name for path in tmp_path.iterdir() if not path.suffix} == {
        listed_id(number) for number in numbers
    }
    for number in numbers:
        saved = json.loads((tmp_path / listed_id(number)).read_text())
        assert saved["name"] == IMAGES[number - 1]["name"]
        data = tmp_path / f"{listed_id(number)}.img"
        if saved["status"] == "active":
            assert data.read_bytes() == data_of(saved)
        else:
            assert not data.exists()


def test_replicator_livecopy_cannot_write(served_url: str) -> None:
    """It does not see in the target's headers that the images are there, and fails to add one."""
    before = list(Client(served_url, token="admin").images.list(is_public=None))
    host = served_url.removeprefix("http://")
    done = replicator("admin", "livecopy", host, host)
    assert done.returncode == 1
    assert "ERROR: " in done.stderr
    after = list(Client(served_url, token="admin").images.list(is_public=None))
    assert [one.to_dict() for one in after] == [one.to_dict() for one in before]


# tempest's clients of v1.


def test_tempest(served_url: str) -> None:
    python = ENVIRONMENTS / "tempest" / "bin" / "python"
    program = ROOT / "tests" / "functional" / "tempest_program.py"
    done = run_program(python, program, f"{served_url}/v1", "admin", listed_id(6))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["list"]) == 3
    assert [(one["id"], one["size"]) for one in told["filtered"]] == [(listed_id(4), 36_000)]
    assert told["changed"] == []
    assert (told["status"], told["bytes"]) == ("active", 36_000)
    assert told["members"] == [
        {"member_id": "p1", "can_share": False},
        {"member_id": "p3", "can_share": False},
    ]
    assert told["shared"] == [{"image_id": listed_id(6), "can_share": False}]
    assert "limit must be a whole number" in told["refused"]
