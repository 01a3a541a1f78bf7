# SPDX-License-Identifier: Apache-2.0
"""The examples for configurations: two in one process, one shared with the host, one in code."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deployment import Deployment
from tests.functional import examples
from tests.functional.http_client import ask


@contextmanager
def example(name: str, folder: Path, *files: Path) -> Iterator[int]:
    """Run an example in a folder with copies of some files; yields its port."""
    command = examples.copy_example(name, folder)
    for file in files:
        (shutil.copytree if file.is_dir() else shutil.copy)(file, folder / file.name)
    with examples.run_example(command, folder) as (port, _):
        yield port


def test_two_instances(tmp_path: Path) -> None:
    """Each has its own folders, policy, checksums and limits, for the same id too."""
    ours, partners = Deployment(tmp_path / "ours"), Deployment(tmp_path / "partners")
    ours.configure(core="public_endpoint = https://ours.example.com\nverify_checksum = never")
    (tmp_path / "policy.yaml").write_text('"download_image": "!"')
    policy = f"[imageapi_policy_rules]\npolicy_file = {tmp_path}/policy.yaml\n"
    partners.configure(core="max_property_headers = 0")
    second = partners.config_file.rename(tmp_path / "partners.conf")
    for image_id in ("same", "corrupt"):
        checksum = {"checksum": "0" * 32} if image_id == "corrupt" else {}
        ours.add(image_id, b"ours", properties={"os": "linux"}, **checksum)
        partners.add(image_id, b"the partners'", properties={"os": "linux"}, **checksum)
    with example("two_instances.py", tmp_path / "example", ours.config_file, second) as port:
        status, headers, body = ask(port, "/v1/images/same")
        assert (status, body) == (200, b"ours")
        assert headers["X-Image-Meta-Uri"] == "https://ours.example.com/v1/images/same"
        assert headers["X-Image-Meta-Property-Os"] == "linux"
        status, headers, body = ask(port, "/partners/v1/images/same")
        assert (status, body) == (200, b"the partners'")
        own = f"http://127.0.0.1:{port}/partners/v1/images/same"
        assert headers["X-Image-Meta-Uri"] == own
        assert "X-Image-Meta-Property-Os" not in headers
        assert ask(port, "/v1/images/corrupt")[::2] == (200, b"ours")
        assert ask(port, "/partners/v1/images/corrupt")[0] == 500
    second.write_text(second.read_text() + policy)
    with example("two_instances.py", tmp_path / "again", ours.config_file, second) as port:
        assert ask(port, "/v1/images/same")[0] == 200
        assert ask(port, "/partners/v1/images/same")[0] == 403


def test_shared_configuration(deployment: Deployment) -> None:
    deployment.configure(more="[myservice]\ngreeting = Gr\u00fc\u00df Gott\n")
    deployment.add("i", b"data")
    folder = deployment.folder / "example"
    with example("shared_config.py", folder, deployment.config_file) as port:
        assert ask(port, "/v1/images/i")[::2] == (200, b"data")
        assert ask(port, "/")[2].decode() == "Gr\u00fc\u00df Gott"
        # No warning says that the host's section is misspelt.
        assert "myservice" not in (folder / "server.log").read_text()


def test_configuration_in_code(deployment: Deployment) -> None:
    folder = deployment.folder / "example"
    deployment.add("i", b"data")
    location = {"url": f"file://{folder}/archive/old", "metadata": {"store": "archive"}}
    document = {"status": "active", "is_public": True, "size": 3, "locations": [location]}
    deployment.record_path("old").write_text(json.dumps(document))
    archive = deployment.folder / "archive"
    archive.mkdir()
    (archive / "old").write_bytes(b"old")
    folders = (deployment.registry, deployment.images, archive)
    with example("config_in_code.py", folder, *folders) as port:
        assert ask(port, "/v1/images/i")[::2] == (200, b"data")
        assert ask(port, "/v1/images/old")[::2] == (200, b"old")
