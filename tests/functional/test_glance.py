# SPDX-License-Identifier: Apache-2.0
"""examples/glance-v2.conf: v1 in front of a real Glance, with a real Keystone."""

import hashlib
import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from glanceclient.v1.client import Client

from tests.deployment import Deployment
from tests.functional.openstack import ENVIRONMENTS, Keystone, call, glance
from tests.functional.raw_server import RawServer, Request
from tests.functional.servers import serving
from tests.paths import BIN, EXAMPLES

DATA = os.urandom(5_000_000)

pytestmark = pytest.mark.timeout(300)


class GlanceCloud(NamedTuple):
    """The servers, and a token and a project of each user."""

    port: int
    glance: str
    tokens: dict[str, str]
    projects: dict[str, str]
    config: Path

    def add(self, owner: str, visibility: str) -> str:
        """Upload an image; returns its id."""
        fields = {"disk_format": "raw", "container_format": "bare", "distro": "Ubuntu 10.04"}
        token = self.tokens[owner]
        image = call(
            f"{self.glance}/v2/images", token, {**fields, "visibility": visibility, "name": "one"}
        )
        call(self.glance + image["file"], token, DATA, method="PUT")
        image_id: str = image["id"]
        return image_id

    def get(
        self, image_id: str, user: str | None = None, method: str = "GET", **headers: str
    ) -> Any:
        """imageapi's answer: status, headers and body."""
        url = f"http://127.0.0.1:{self.port}/v1/images/{image_id}"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if user is not None:
            given["X-Auth-Token"] = self.tokens.get(user, user)
        request = urllib.request.Request(url, headers=given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()


def users_and_tokens(server: Keystone) -> tuple[dict[str, str], dict[str, str]]:
    """Makes users; returns a token and a project of each. root is Glance's admin."""
    projects = {}
    for user in ("alice", "bob", "carol", "root"):
        projects[user] = server.project(f"project-of-{user}")
        server.user(user, projects[user], "admin" if user == "root" else "member")
    tokens = {user: server.token(user, f"project-of-{user}") for user in projects}
    return tokens, projects


@pytest.fixture(scope="module")
def glance_cloud(
    identity: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GlanceCloud]:
    with glance(tmp_path_factory.mktemp("glance"), identity, "api_limit_max = 5") as url:
        tokens, projects = users_and_tokens(identity)
        config = tmp_path_factory.mktemp("front") / "glance-v2.conf"
        example = (EXAMPLES / "glance-v2.conf").read_text()
        config.write_text(example.replace("http://glance.example.com:9292", url))
        with serving(config) as port:
            yield GlanceCloud(port, url, tokens, projects, config)


def test_public_image(glance_cloud: GlanceCloud) -> None:
    image_id = glance_cloud.add("root", "public")
    for user in ("root", "alice", "bob"):
        status, headers, body = glance_cloud.get(image_id, user)
        assert (status, body) == (200, DATA)
        assert headers["Etag"] == hashlib.md5(DATA).hexdigest()
        assert headers["X-Image-Meta-Is_public"] == "True"
        assert headers["X-Image-Meta-Name"] == "one"
        assert headers["X-Image-Meta-Property-Distro"] == "Ubuntu 10.04"
        assert headers["X-Image-Meta-Owner"] == glance_cloud.projects["root"]


def test_private_image(glance_cloud: GlanceCloud) -> None:
    image_id = glance_cloud.add("alice", "private")
    status, headers, body = glance_cloud.get(image_id, "alice")
    assert (status, body) == (200, DATA)
    assert headers["X-Image-Meta-Is_public"] == "False"
    absent = glance_cloud.get("absent", "bob")
    for user in ("bob", "a-token-of-nobody", None):
        status, _, body = glance_cloud.get(image_id, user)
        assert status == 404
        assert body == absent[2].replace(b"absent", image_id.encode())


def test_shared_image(glance_cloud: GlanceCloud) -> None:
    image_id = glance_cloud.add("alice", "shared")
    assert glance_cloud.get(image_id, "carol")[0] == 404
    members = f"{glance_cloud.glance}/v2/images/{image_id}/members"
    call(members, glance_cloud.tokens["alice"], {"member": glance_cloud.projects["carol"]})
    assert glance_cloud.get(image_id, "carol")[::2] == (200, DATA)
    assert glance_cloud.get(image_id, "bob")[0] == 404
    call(
        f"{members}/{glance_cloud.projects['carol']}", glance_cloud.tokens["alice"], method="DELETE"
    )
    assert glance_cloud.get(image_id, "carol")[0] == 404


def test_community_image(glance_cloud: GlanceCloud) -> None:
    """Any user who knows its id may read it, as in Glance."""
    assert glance_cloud.get(glance_cloud.add("alice", "community"), "bob")[::2] == (200, DATA)


def test_deactivated_image(glance_cloud: GlanceCloud) -> None:
    image_id = glance_cloud.add("alice", "private")
    actions = f"{glance_cloud.glance}/v2/images/{image_id}/actions"
    call(f"{actions}/deactivate", glance_cloud.tokens["root"], b"", method="POST")
    for user in ("alice", "root"):
        assert glance_cloud.get(image_id, user)[0] == 403
    status, headers, _ = glance_cloud.get(image_id, "alice", "HEAD")
    assert (status, headers["X-Image-Meta-Status"]) == (200, "deactivated")
    call(f"{actions}/reactivate", glance_cloud.tokens["root"], b"", method="POST")
    assert glance_cloud.get(image_id, "alice")[::2] == (200, DATA)


def test_deleted_image(glance_cloud: GlanceCloud) -> None:
    image_id = glance_cloud.add("alice", "private")
    assert glance_cloud.get(image_id, "alice")[0] == 200
    call(
        f"{glance_cloud.glance}/v2/images/{image_id}", glance_cloud.tokens["alice"], method="DELETE"
    )
    assert glance_cloud.get(image_id, "alice")[0] == 404


def test_image_without_data(glance_cloud: GlanceCloud) -> None:
    fields = {"disk_format": "raw", "container_format": "bare", "visibility": "private"}
    image = call(f"{glance_cloud.glance}/v2/images", glance_cloud.tokens["alice"], fields)
    assert glance_cloud.get(image["id"], "alice")[0] == 404
    assert glance_cloud.get(image["id"], "alice", "HEAD")[1]["X-Image-Meta-Status"] == "queued"


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", slice(1)),
        ("bytes=1000-1999", slice(1000, 2000)),
        ("bytes=4999999-", slice(-1, None)),
        ("bytes=-3", slice(-3, None)),
    ],
)
def test_ranges(glance_cloud: GlanceCloud, wanted: str, part: slice) -> None:
    image_id = glance_cloud.add("alice", "private")
    status, headers, body = glance_cloud.get(image_id, "alice", Range=wanted)
    assert (status, body) == (206, DATA[part])
    assert headers["Content-Range"].endswith(f"/{len(DATA)}")
    assert glance_cloud.get(image_id, "alice", Range="bytes=5000000-")[0] == 416


def test_not_modified(glance_cloud: GlanceCloud) -> None:
    image_id = glance_cloud.add("alice", "private")
    etag = f'"{hashlib.md5(DATA).hexdigest()}"'
    assert glance_cloud.get(image_id, "alice", If_None_Match=etag)[0] == 304
    assert glance_cloud.get(image_id, "bob", If_None_Match=etag)[0] == 404


def test_glanceclient_v1(glance_cloud: GlanceCloud) -> None:
    image_id = glance_cloud.add("alice", "private")
    client = Client(f"http://127.0.0.1:{glance_cloud.port}", token=glance_cloud.tokens["alice"])
    assert client.images.get(image_id).properties == {"distro": "Ubuntu 10.04"}
    assert b"".join(client.images.data(image_id)) == DATA


def test_no_token_is_logged(glance_cloud: GlanceCloud) -> None:
    log = (glance_cloud.config.parent / "server.log").read_text()
    assert not [user for user, token in glance_cloud.tokens.items() if token in log]


def test_check(glance_cloud: GlanceCloud) -> None:
    command = [str(BIN / "imageapi"), "--config-file", str(glance_cloud.config), "check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ok, endpoint {glance_cloud.glance}/v2/images" in done.stdout


class TestImport:
    """``imageapi import`` from Glance into folders."""

    def run(
        self, deployment: Deployment, glance_cloud: GlanceCloud, *words: str
    ) -> tuple[int, str]:
        return self.run_with(deployment.config_file, glance_cloud, *words)

    def run_with(self, config: Path, glance_cloud: GlanceCloud, *words: str) -> tuple[int, str]:
        command = [str(BIN / "imageapi"), "--config-file", str(config)]
        done = subprocess.run(
            [*command, *words],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "OS_TOKEN": glance_cloud.tokens["alice"]},
        )
        assert glance_cloud.tokens["alice"] not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    def test_record_and_data(self, deployment: Deployment, glance_cloud: GlanceCloud) -> None:
        """Repeated, it copies only what is not there yet."""
        ids = [glance_cloud.add("alice", "private"), glance_cloud.add("root", "public")]
        words = ("import", "--from", str(glance_cloud.config))
        assert self.run(deployment, glance_cloud, *words, ids[0]) == (0, f"{ids[0]}: copied\n")
        told = f"{ids[0]}: skipped: it exists already\n{ids[1]}: copied\n"
        assert self.run(deployment, glance_cloud, *words, *ids) == (0, told)
        for image_id in ids:
            record = json.loads(deployment.record_path(image_id).read_text())["images"][0]
            assert record["properties"]["distro"] == "Ubuntu 10.04"
            assert (record["name"], record["disk_format"]) == ("one", "raw")
            assert record["checksum"] == hashlib.md5(DATA).hexdigest()
            assert deployment.data_path(image_id).read_bytes() == DATA
        assert record["is_public"]
        assert self.run(deployment, glance_cloud, "verify", "--all")[0] == 0

    def test_what_the_token_may_not_see(
        self, deployment: Deployment, glance_cloud: GlanceCloud
    ) -> None:
        image_id = glance_cloud.add("root", "private")
        status, told = self.run(
            deployment, glance_cloud, "import", image_id, "--from", str(glance_cloud.config)
        )
        assert (status, told) == (1, f"imageapi: image {image_id}: no record\n")
        assert os.listdir(deployment.images) == []

    def test_all(self, deployment: Deployment, glance_cloud: GlanceCloud) -> None:
        """What the token may see; repeated, only what is not here yet."""
        ids = [glance_cloud.add("alice", "private"), glance_cloud.add("root", "public")]
        hidden = glance_cloud.add("root", "private")
        words = ("import", "--all", "--from", str(glance_cloud.config))
        status, told = self.run(deployment, glance_cloud, *words)
        assert status == 0, told
        copied = [line.split(":")[0] for line in told.splitlines() if line.endswith(": copied")]
        assert [one for one in copied if one in ids] == ids  # the oldest first
        assert hidden not in told
        for image_id in ids:
            assert deployment.data_path(image_id).read_bytes() == DATA
        deployment.record_path(ids[0]).unlink()  # as after SIGKILL
        added = glance_cloud.add("alice", "private")
        status, told = self.run(deployment, glance_cloud, *words)
        assert status == 0, told
        assert f"{ids[0]}: copied: its data was here already\n" in told
        assert told.count(": copied") == 2
        assert f"{added}: copied\n" in told
        assert self.run(deployment, glance_cloud, "verify", "--all")[0] == 0

    def test_pages_and_filters(self, deployment: Deployment, glance_cloud: GlanceCloud) -> None:
        """More images than Glance puts into one page."""
        fields = {"visibility": "private", "disk_format": "raw", "container_format": "bare"}
        token = glance_cloud.tokens["alice"]
        ids = []
        for number in range(7):
            named = {**fields, "name": "in pages" if number % 2 else "ü", "number": str(number)}
            image = call(f"{glance_cloud.glance}/v2/images", token, named)
            call(glance_cloud.glance + image["file"], token, b"data", method="PUT")
            ids.append(image["id"])
        words = ("import", "--all", "--from", str(glance_cloud.config))
        for given, chosen in (
            (("--name", "in pages"), ids[1::2]),
            (("--name", "ü", "--property", "number=4"), ids[4:5]),
            (("--size-max", "4", "--changes-since", "2026-01-01"), [*ids[0:3:2], ids[6]]),
        ):
            status, told = self.run(deployment, glance_cloud, *words, *given)
            copied = [line.split(":")[0] for line in told.splitlines() if line.endswith("copied")]
            assert (status, copied) == (0, chosen), told
        # With the front's own configuration.
        status, told = self.run_with(
            glance_cloud.config, glance_cloud, "list", "--name", "in:in pages,ü"
        )
        assert status == 0, told
        assert [line.split()[0] for line in told.splitlines()] == ["ID", *reversed(ids)]
        page = ("list", "--json", "--limit", "3", "--marker", ids[5])
        status, told = self.run_with(glance_cloud.config, glance_cloud, *page)
        assert status == 0, told
        assert [json.loads(line)["id"] for line in told.splitlines()] == ids[4:1:-1]

    def test_token_that_is_refused(
        self, deployment: Deployment, glance_cloud: GlanceCloud, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(glance_cloud.tokens, "alice", "a-token-of-nobody")
        status, told = self.run(
            deployment, glance_cloud, "import", "--all", "--from", str(glance_cloud.config)
        )
        warning = "imageapi: warning: registry 'glance' lists no image; it may refuse the token"
        assert (status, told) == (0, f"{warning} in OS_TOKEN\n")


def test_replicator_loads_what_was_exported(deployment: Deployment, tmp_path: Path) -> None:
    """``glance-replicator load`` reads data as UTF-8, so this data is text."""
    image_id = "71c675ab-d94f-49cd-a114-e12490b328d9"
    deployment.add(image_id, b"data\n", name="n", properties={"distro": "x"})
    config = str(deployment.config_file)
    command = [str(BIN / "imageapi"), "--config-file", config, "export", image_id]
    (tmp_path / "dump").mkdir()
    subprocess.run([*command, "--to", str(tmp_path / "dump")], check=True, timeout=60)
    uploads: list[Request] = []

    def answer(request: Request, connection: socket.socket) -> bool:
        status, body = "404 Not Found", b""
        if request.method == "POST":
            uploads.append(request)
            status, body = "201 Created", b'{"image": {"status": "active"}}'
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)
        return False

    replicator = str(ENVIRONMENTS / "glance" / "bin" / "glance-replicator")
    with RawServer(answer) as server:
        done = subprocess.run(
            [replicator, "load", f"127.0.0.1:{server.port}", str(tmp_path / "dump")],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert uploads, done.stdout + done.stderr
    headers = uploads[0].headers
    assert headers["x-image-meta-id"] == image_id
    assert headers["x-image-meta-name"] == "n"
    assert headers["x-image-meta-property-distro"] == "x"
    assert headers["content-length"] == "5"
