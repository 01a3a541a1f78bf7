# SPDX-License-Identifier: Apache-2.0
"""The commands and configurations in the pages work, and print what the pages show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import imageapi
from tests.deployment import Deployment
from tests.paths import BIN, ROOT

# The README's links are absolute, so that they work on an index of packages too.
REPOSITORY = "https://github.com/imageapi/imageapi/blob/main/"
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in PAGES
        if page.stem != "plugins"  # test_plugin.py runs this whole page
        for number, code in enumerate(blocks(page, "python"))
    ],
)
def test_python(deployment: Deployment, code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:'cgi':DeprecationWarning", "-c", code],
        cwd=deployment.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    logged = re.findall(r"^# the log: (.*)$", code, re.MULTILINE)
    assert (done.returncode, done.stderr.splitlines()) == (0, logged)
    said = re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert done.stdout.splitlines() == said


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "operations.md"])
def test_shell(tmp_path: Path, page: Path) -> None:
    """Runs the commands of a page in order, except those that install or serve."""
    (tmp_path / "disk.qcow2").write_bytes(b"data")
    lines = ["set -eu"]
    for block in blocks(page, "sh"):
        if not re.search(r"scripts/|&\n|uwsgi", block):
            lines += block.splitlines()
    skipped = re.compile(r"^(git|python3|\.|pip) | serve$")
    script = "\n".join(line for line in lines if not skipped.search(line))
    assert "imageapi --config-file imageapi.conf add" in script
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "my-image" in done.stdout
    assert len(list((tmp_path / "registry").iterdir())) == 1


@pytest.mark.parametrize(
    ("page", "number", "example"),
    [("http", 0, "glance-v2.conf"), ("http", 1, None), ("swift", 0, "swift.conf"), ("s3", 0, None)],
)
def test_configurations_of_pages(
    tmp_path: Path, page: str, number: int, example: str | None
) -> None:
    """Each is accepted. If it is also an example, both are equal without comments."""
    text = blocks(ROOT / "docs" / f"{page}.md", "ini")[number]
    if example is not None:
        lines = (ROOT / "examples" / example).read_text().splitlines()
        assert text.split() == " ".join(line for line in lines if line[:1] != "#").split()
    (tmp_path / "imageapi.conf").write_text(text)
    imageapi.ImageAPI(imageapi.load_config([tmp_path / "imageapi.conf"])).close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.removeprefix(REPOSITORY).partition("#")
        if "://" in name:
            continue
        folder = ROOT if target.startswith(REPOSITORY) else page.parent
        linked = (folder / name).resolve() if name else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", text).lower().replace(" ", "-") for text in headings}
            assert anchor in slugs, target


def test_readme_has_no_relative_link() -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text())
    assert [target for target in targets if "://" not in target] == []
    assert len([target for target in targets if target.startswith(REPOSITORY)]) > 10
