# SPDX-License-Identifier: Apache-2.0
"""docs/plugins.md, followed from an empty folder: a plugin in a new environment with our wheel."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.functional import wheel
from tests.functional.servers import free_port, running
from tests.paths import BIN, ROOT

PAGE = (ROOT / "docs" / "plugins.md").read_text()

# A block is a file of the package, or commands, or their output.
BLOCK = re.compile(r"(?:^\*\*`([^`]+)`\*\*\n\n)?^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# The installation takes long.
pytestmark = pytest.mark.timeout(400)


class Tutorial(NamedTuple):
    """The folder in which the page was followed, and the output of each block."""

    folder: Path
    said: list[str]

    def run(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run a command of the environment in the folder."""
        command = [str(self.folder / ".venv" / "bin" / str(words[0])), *map(str, words[1:])]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)


def files_of_the_page() -> dict[str, str]:
    return {path: text for path, _, text in BLOCK.findall(PAGE) if path}


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Tutorial:
    """Follow the page: run its commands except the server."""
    folder = tmp_path_factory.mktemp("tutorial") / "imageapi-sqlite"
    folder.mkdir()
    environ = {name: os.environ[name] for name in os.environ if name.lower().startswith("pip_")}
    environ |= {
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "IMAGEAPI": str(wheel.build_wheel(tmp_path_factory.mktemp("wheel"))),
        "PIP_CONSTRAINT": str(ROOT / "requirements-test.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # What is imported is compiled then: it is a small part.
        "PIP_NO_COMPILE": "1",
    }
    said = []
    for path, language, text in BLOCK.findall(PAGE):
        if not path and language == "sh" and " serve\n" not in text:
            done = subprocess.run(
                ["sh", "-euc", text],
                cwd=folder,
                env=environ,
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
            said.append(done.stdout)
    return Tutorial(folder, said)


def test_the_page_shows_what_new_plugin_writes(tmp_path: Path) -> None:
    folder = tmp_path / "imageapi-sqlite"
    subprocess.run([BIN / "imageapi", "new-plugin", folder], check=True, capture_output=True)
    written = {path for path in folder.rglob("*") if path.is_file()}
    assert files_of_the_page() == {str(one.relative_to(folder)): one.read_text() for one in written}


def test_a_store_takes_less_than_60_lines() -> None:
    text = files_of_the_page()["imageapi_sqlite/store.py"]
    assert sum(1 for line in text.splitlines() if line.strip()) < 60


def test_what_the_page_says_is_printed(tutorial: Tutorial) -> None:
    printed = "".join(tutorial.said).replace(str(tutorial.folder), "/home/me")
    for path, language, text in BLOCK.findall(PAGE):
        if not path and not language and "AssertionError" not in text:
            assert text in printed


def test_imageapi_is_the_wheel(tutorial: Tutorial) -> None:
    done = tutorial.run("python", "-c", "import imageapi; print(imageapi.__file__)")
    assert done.stdout.startswith(str(tutorial.folder / ".venv"))


def test_suites_pass_under_pytest(tutorial: Tutorial) -> None:
    done = tutorial.run("python", "-m", "pytest", "-W", "error", "-W", "ignore:'cgi'", "-rA")
    assert done.returncode == 0, done.stdout
    for name in ("SQLiteStore::test_ten", "SQLiteRegistry::test_ten", "SQLitePolicy::test_ten"):
        assert f"PASSED tests/test_{name[6:].split(':')[0].lower()}.py::Test{name}" in done.stdout
    assert "skipped" not in done.stdout


def test_suites_pass_under_unittest(tutorial: Tutorial) -> None:
    only = "test_store.py"  # pytest runs them all
    done = tutorial.run("python", "-m", "unittest", "discover", "-s", "tests", "-p", only)
    assert re.search(r"^Ran ([3-9]\d) tests .*^OK$", done.stderr, re.MULTILINE | re.DOTALL)


def test_types_hold(tutorial: Tutorial) -> None:
    """mypy --strict accepts the plugin, with the types of the installed imageapi."""
    command = [str(BIN / "mypy"), "--strict", "--cache-dir", str(tutorial.folder / "cache")]
    command += ["--python-executable", str(tutorial.folder / ".venv" / "bin" / "python")]
    done = subprocess.run(
        [*command, "imageapi_sqlite", "tests"],
        cwd=tutorial.folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout


def test_failure_that_the_page_shows(tutorial: Tutorial) -> None:
    shown = next(text for _, _, text in BLOCK.findall(PAGE) if text.startswith("AssertionError"))
    store = tutorial.folder / "imageapi_sqlite" / "store.py"
    right = store.read_text()
    store.write_text(right.replace("size if stop is None else min(stop, size)", "size"))
    try:
        name = "test_store.TestSQLiteStore.test_reads_first_and_last_byte"
        done = tutorial.run("python", "-m", "unittest", f"tests.{name}")
    finally:
        store.write_text(right)
    assert shown.strip() in done.stderr


@contextmanager
def served_image(tutorial: Tutorial, *files: str, caller: Sequence[str] = ()) -> Iterator[str]:
    """The page's server over these configuration files; yields the URL of its image.

    :param caller: the flags of a made-up caller.
    """
    port = free_port()
    words = [word for file in files for word in ("--config-file", file)]
    command = [str(tutorial.folder / ".venv" / "bin" / "imageapi"), *words]
    log = tutorial.folder / "server.log"
    with running(
        [*command, "serve", "--port", str(port), *caller], port, log, folder=tutorial.folder
    ):
        yield f"http://127.0.0.1:{port}/v1/images/hello"


def test_serves_an_image(tutorial: Tutorial) -> None:
    with served_image(tutorial, "imageapi.conf") as url, urlopen(url, timeout=20) as response:
        assert response.read() == b"hello, world\n"


def test_policy_refuses_who_has_no_grant(tutorial: Tutorial) -> None:
    with served_image(tutorial, "imageapi.conf", "granted.conf") as url:
        with urlopen(Request(url, method="HEAD"), timeout=20) as response:
            assert response.status == 200
        with pytest.raises(HTTPError, match="403"):
            urlopen(url, timeout=20)


def test_policy_allows_a_made_up_caller_with_a_grant(tutorial: Tutorial) -> None:
    files = ("imageapi.conf", "granted.conf")
    with (
        served_image(tutorial, *files, caller=["--as-project", "p1"]) as url,
        urlopen(url, timeout=20) as response,
    ):
        assert response.read() == b"hello, world\n"


def test_package_of_another_name(tutorial: Tutorial) -> None:
    """It passes its suites and ruff too, and has only the kinds that were asked for."""
    done = tutorial.run("imageapi", "new-plugin", "imageapi-acme", "--kind=store", "--kind=policy")
    assert "driver 'acme': store, policy\n" in done.stdout
    folder = tutorial.folder / "imageapi-acme"
    style = ["--config", str(ROOT / "pyproject.toml"), "--no-cache", "."]
    python = str(tutorial.folder / ".venv" / "bin" / "python")
    ruff = str(BIN / "ruff")
    listed = "from imageapi_acme import opts; print([name for name, _ in opts.list_opts()])"
    for command, told in (
        ([ruff, "check", "--ignore", "I,S,PT009", *style], "All checks passed"),
        ([ruff, "format", "--check", *style], "already formatted"),
        ([python, "-m", "pytest", "-q", "-k", "byte or scheme or locate"], " passed"),
        ([python, "-c", listed], "['imageapi_store_acme', 'imageapi_policy_acme']"),
    ):
        ran = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert (ran.returncode, told in ran.stdout) == (0, True), ran.stdout + ran.stderr


def test_wheel_can_be_installed(tutorial: Tutorial) -> None:
    (built,) = (tutorial.folder / "dist").glob("imageapi_sqlite-1.0-*.whl")
    done = tutorial.run("pip", "install", "--no-deps", "--force-reinstall", built)
    assert done.returncode == 0, done.stderr
    check = tutorial.run("imageapi", "--config-file", "imageapi.conf", "check")
    assert check.returncode == 0, check.stderr
    assert "(driver 'sqlite' of imageapi-sqlite 1.0): ok, 1 files in" in check.stdout
