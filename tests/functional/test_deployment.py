# SPDX-License-Identifier: Apache-2.0
"""docs/deployment.md, followed from its first command to its last."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.machine import Machine
from tests.functional.test_docs import blocks
from tests.paths import ROOT

pytestmark = pytest.mark.timeout(1200)

PAGE = ROOT / "docs" / "deployment.md"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    try:
        yield made
    finally:
        made.close()


def is_for_others(path: Path) -> bool:
    """Whether other users can read it; of a folder, can also enter it."""
    needed = 0o005 if path.is_dir() else 0o004
    return path.stat().st_mode & needed == needed


def test_page(machine: Machine) -> None:
    root = machine.root
    said = []
    for block in blocks(PAGE, "sh"):
        if "--extract" in block:
            shutil.rmtree(root / "var/lib/imageapi/registry")
            shutil.rmtree(root / "var/lib/imageapi/images")
        done = machine.run(block)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout)
    output = "".join(said)
    assert output.count("same\n") == 2
    assert output.count("HTTP/1.1 200 OK") == 2
    assert output.count("ok, directory") >= 2 * 3
    assert str(root / "var/lib/imageapi/images") in output
    # The service's user reads the program as others do, and the images by their group.
    assert is_for_others(root / "opt/imageapi-0.2.0/bin/imageapi")
    assert is_for_others(root / "opt/imageapi-0.2.0/bin")
    for name in ("registry", "images"):
        folder = root / "var/lib/imageapi" / name
        assert folder.stat().st_mode & 0o7777 == 0o2750
        assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o644]
    assert (root / "etc/imageapi/images.key").stat().st_mode & 0o777 == 0o600
    assert (root / "opt/imageapi").readlink() == Path("imageapi-0.2.0")


def test_reload_with_a_wrong_configuration_fails(machine: Machine) -> None:
    """And the service continues as it was."""
    (until_it_serves,) = (
        number for number, block in enumerate(blocks(PAGE, "sh")) if "enable --now" in block
    )
    for block in blocks(PAGE, "sh")[: until_it_serves + 1]:
        done = machine.run(block)
        assert done.returncode == 0, done.stderr
    config = machine.root / "etc/imageapi/imageapi.conf"
    config.write_text(config.read_text().replace("directory", "directoy"))
    assert machine.run("systemctl reload imageapi").returncode != 0
    ask = "curl --fail --silent http://127.0.0.1:9292/v1/images/my-image?format=json"
    done = machine.run(ask)
    assert json.loads(done.stdout)["images"][0]["id"] == "my-image"
