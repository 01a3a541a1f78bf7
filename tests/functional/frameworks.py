# SPDX-License-Identifier: Apache-2.0
"""The examples for frameworks, each on a real server, and what is tried with each.

``python -m tests.functional.frameworks`` tries all, and writes the table of
docs/frameworks.md.
"""

import hashlib
import http.client
import importlib.metadata
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote

import psutil

from tests.deployment import Deployment, get
from tests.functional import basic_auth, examples, keeping_store
from tests.functional.servers import connection

PAGE = examples.ROOT / "docs" / "frameworks.md"

POLICY = """\
"download_image": "user_id:alice or not 'yes':%(restricted)s"
"""

HOOKS = """\
from tests.functional import basic_auth


def post_worker_init(worker):
    worker.wsgi = basic_auth.wsgi(worker.wsgi)
"""

# More than any socket's buffers take, so that a download has a middle.
BIG = 48 << 20
GIVEN = os.urandom(3_000_000)
# No framework is to stumble over a name of more than ASCII.
IMAGE = "bild \u00fc"


class Row(NamedTuple):
    """A way to reach imageapi in an example."""

    framework: str
    distribution: str
    way: str
    example: str
    path: str

    @property
    def id(self) -> str:
        return f"{self.framework}, {self.way}"


def _rows(framework: str, distribution: str, example: str, *ways: str) -> Iterator[Row]:
    for way in ways:
        yield Row(framework, distribution, way, example, WAYS[way])


ALONE = "behind a pipeline"
WAYS = {
    "under a prefix": "/glance/v1/images/",
    "in front": "/v1/images/",
    "at /v1": "/v1/images/",
    "behind a pipeline": "/v1/images/",
    "in a view": "/download/",
}
BESIDE = ("under a prefix", "in front")
ROWS = [
    *_rows("plain WSGI", "", "wsgi_app.py", *BESIDE),
    *_rows("Paste", "Paste", "paste", *BESIDE),
    *_rows("Flask", "Flask", "flask_app.py", *BESIDE, "in a view"),
    *_rows("Django", "Django", "django_app.py", *BESIDE, "in a view"),
    *_rows("Pyramid", "pyramid", "pyramid_app.py", *BESIDE, "in a view"),
    *_rows("Falcon", "falcon", "falcon_app.py", *BESIDE),
    *_rows("Bottle", "bottle", "bottle_app.py", *BESIDE),
    *_rows("oslo.middleware", "oslo.middleware", "oslo", ALONE),
    *_rows("FastAPI", "fastapi", "fastapi_app.py", "under a prefix", "at /v1"),
    *_rows("Starlette", "starlette", "starlette_app.py", "under a prefix", "at /v1"),
]


SERVERS = ("gunicorn", "uvicorn", "a2wsgi")


class Answer(NamedTuple):
    """What a client got; the names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Served:
    """An example that runs.

    :ivar patience: for how many seconds to wait for what comes soon.
    """

    port: int
    process: psutil.Process
    images: Path
    patience: float

    def ask(self, path: str, method: str = "GET", user: str = "", **headers: str) -> Answer:
        with connection(self.port) as client:
            response = self._begin(client, path, method, user, headers)
            return Answer(response.status, _by_name(response), response.read())

    @contextmanager
    def asking(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """An answer whose body is left to read, over a connection that takes little at once."""
        with connection(self.port) as client:
            client.sock = socket.socket()
            client.sock.settimeout(30)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.sock.connect(("127.0.0.1", self.port))
            with self._begin(client, path, "GET", "", {}) as response:
                yield response

    def leave(self, path: str, method: str) -> None:
        """Ask, and leave without looking at the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            sock.sendall(self._head_of(path, method))

    def raw(self, path: str, method: str) -> bytes:
        """All that comes over the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            sock.sendall(self._head_of(path, method))
            received = b""
            while chunk := sock.recv(1 << 20):
                received += chunk
            return received

    def _head_of(self, path: str, method: str) -> bytes:
        host = f"127.0.0.1:{self.port}"
        return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()

    def _begin(
        self,
        client: http.client.HTTPConnection,
        path: str,
        method: str,
        user: str,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if user:
            sent["Authorization"] = basic_auth.header_of(user)
        # As browsers and curl --compressed do.
        client.request(method, path, headers={"Accept-Encoding": "gzip, deflate", **sent})
        return client.getresponse()

    def open_images(self) -> list[str]:
        """The images that the server's processes hold open."""
        processes = [self.process, *self.process.children(recursive=True)]
        files = [file.path for process in processes for file in process.open_files()]
        return [path for path in files if path.startswith(f"{self.images}/")]

    def holds_images(self, yes: bool) -> bool:
        """Whether it holds images open, or does not, now or soon."""
        deadline = time.monotonic() + self.patience
        while bool(self.open_images()) is not yes and time.monotonic() < deadline:
            time.sleep(0.02)
        return bool(self.open_images()) is yes


def _by_name(response: http.client.HTTPResponse) -> Mapping[str, str]:
    pairs = response.getheaders()
    names = [name.lower() for name, _ in pairs]
    assert len(names) == len(set(names)), f"a header came twice: {names}"
    return {name.lower(): value for name, value in pairs}


class Change(NamedTuple):
    """An example that is not as it should be: a text in it, and what is there instead."""

    example: str
    right: str
    wrong: str

    def make(self, folder: Path) -> None:
        path = folder / self.example
        text = path.read_text()
        assert text.count(self.right) == 1
        path.write_text(text.replace(self.right, self.wrong))


class Bench:
    """A deployment, and the examples that serve it, each started when it is first tried."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._served: dict[str, Served] = {}
        self._outcomes: dict[tuple[Row, str], str] = {}
        self.deployment = Deployment(folder / "deployment")
        self._fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _fill(self) -> None:
        keeping_store.install(self._folder)
        folder = self.deployment.folder
        (folder / "policy.yaml").write_text(POLICY)
        policy = f"[imageapi_policy_rules]\npolicy_file = {folder}/policy.yaml\n"
        self.deployment.configure(more=policy)
        self.api = self.deployment.api()
        self._stack.callback(self.api.close)
        keeping = f"[imageapi_store_keeping]\ndirectory = {self.deployment.images}\n"
        self.deployment.configure(core="stores = keeping", more=policy + keeping)
        add = self.deployment.add
        name = {"name": "Schr\u00f6dinger", "disk_format": "vhd"}
        add(IMAGE, GIVEN, properties={"os": "Gr\u00fc\u00dfe", "os_version": "1"}, **name)
        add("plain", GIVEN, disk_format="vhd")
        add("restricted", GIVEN, properties={"restricted": "yes"})
        add("private", GIVEN, is_public=False, owner="alice")
        add("corrupt", GIVEN, checksum="0" * 32)
        self.deployment.record("record-only", size=5)
        self.add_zeros("big")

    def add_zeros(self, image_id: str) -> None:
        """A big image that takes no room on the disk."""
        self.deployment.add(image_id, b"", size=BIG, checksum=_ZEROS)
        os.truncate(self.deployment.data_path(image_id), BIG)

    def serve(self, example: str) -> Served:
        """The example's server."""
        if example not in self._served:
            served = self._start(example, self._folder / example.replace(".", "-"))
            self._served[example] = self._stack.enter_context(served)
        return self._served[example]

    @contextmanager
    def serve_wrong(self, change: Change) -> Iterator[Served]:
        """The server of an example that was changed."""
        folder = Path(tempfile.mkdtemp(dir=self._folder)) / "wrong"
        with self._start(change.example, folder, change) as served:
            yield served

    @contextmanager
    def _start(self, example: str, folder: Path, change: Change | None = None) -> Iterator[Served]:
        command = examples.copy(example, folder)
        if change is not None:
            change.make(folder)
        shutil.copy(self.deployment.config_file, folder / "imageapi.conf")
        environ = {"PYTHONPATH": f"{examples.ROOT}:{self._folder}"}
        if command[0] == "uvicorn":
            environ["EXAMPLE"] = command[-1]
            command[-1:] = ["--factory", "tests.functional.basic_auth:asgi"]
        with examples.run(command, folder, environ, HOOKS) as (port, process):
            images = self.deployment.images
            patience = 20 if change is None else 2
            yield Served(port, psutil.Process(process.pid), images, patience)

    def check(self, row: Row, column: str) -> None:
        """Try a cell.

        :raises AssertionError: what is wrong.
        """
        self._outcomes[row, column] = "no"
        COLUMNS[column](self, self.serve(row.example), row)
        self._outcomes[row, column] = "yes"

    def outcome(self, row: Row, column: str) -> str:
        """``yes`` or ``no``; tried now, where it has not been yet."""
        if (row, column) not in self._outcomes:
            with suppress(AssertionError, OSError, http.client.HTTPException):
                self.check(row, column)
        return self._outcomes[row, column]

    def table(self) -> str:
        """What came out, as Markdown."""
        lines = ["| framework | version | imageapi is | " + " | ".join(COLUMNS) + " |"]
        lines.append("|---" * (3 + len(COLUMNS)) + "|")
        for row in ROWS:
            version = _version_of(row.distribution) if row.distribution else ""
            cells = [self.outcome(row, column) for column in COLUMNS]
            lines.append(f"| {row.framework} | {version} | {row.way} | {' | '.join(cells)} |")
        served_by = ", ".join(f"{name} {_version_of(name)}" for name in SERVERS)
        return "\n".join([*lines, "", f"Tried with {served_by}.", ""])


def _version_of(distribution: str) -> str:
    return importlib.metadata.version(distribution)


_ZEROS = hashlib.md5(bytes(BIG), usedforsecurity=False).hexdigest()


def _get(bench: Bench, served: Served, row: Row) -> None:
    """Every header is what imageapi says, and every byte; the site is there too."""
    for image_id in ("plain", quote(IMAGE)):
        path = row.path + image_id
        answer = served.ask(path)
        _has_headers_of(answer, get(bench.api, f"/v1/images/{image_id}"), served, path)
        assert answer.status == 200
        assert answer.body == GIVEN
    assert served.holds_images(False)
    if row.way != ALONE:
        assert b"the site" in served.ask("/").body


def _head(bench: Bench, served: Served, row: Row) -> None:
    path = row.path + quote(IMAGE)
    answer = served.ask(path, "HEAD")
    expected = get(bench.api, f"/v1/images/{quote(IMAGE)}", "HEAD")
    _has_headers_of(answer, expected, served, path)
    assert answer.status == 200
    head, end, body = served.raw(path, "HEAD").partition(b"\r\n\r\n")
    assert (head.split(b" ")[1], end, body) == (b"200", b"\r\n\r\n", b"")
    # No data is opened for it: there is none.
    assert served.ask(row.path + "record-only", "HEAD").headers["content-length"] == "5"
    assert served.holds_images(False)


def _has_headers_of(answer: Answer, expected: object, served: Served, path: str) -> None:
    headers = {name.lower(): value for name, value in getattr(expected, "headerlist")}  # noqa: B009
    headers["x-image-meta-uri"] = f"http://127.0.0.1:{served.port}{path}"
    ours = {name for name in answer.headers if name.startswith("x-image") or name in headers}
    assert {name: answer.headers[name] for name in ours} == headers
    assert not {"transfer-encoding", "content-encoding"} & set(answer.headers)


def _range(bench: Bench, served: Served, row: Row) -> None:
    path, size = row.path + quote(IMAGE), len(GIVEN)
    for wanted, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=1000000-1999999", 1_000_000, 1_999_999),
        ("bytes=-5", size - 5, size - 1),
    ):
        answer = served.ask(path, Range=wanted)
        assert (answer.status, answer.body) == (206, GIVEN[first : last + 1])
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}"
        assert answer.headers["content-length"] == str(last + 1 - first)
    answer = served.ask(path, Range=f"bytes={size}-")
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")
    assert served.holds_images(False)


def _conditions(bench: Bench, served: Served, row: Row) -> None:
    path, checksum = row.path + quote(IMAGE), hashlib.md5(GIVEN, usedforsecurity=False).hexdigest()
    for etag in (checksum, f'"{checksum}"'):
        answer = served.ask(path, If_None_Match=etag)
        assert (answer.status, answer.headers["etag"], answer.body) == (304, checksum, b"")
        assert "content-type" not in answer.headers
        assert served.ask(path, If_Match=etag).body == GIVEN
    assert served.ask(path, If_Match='"other"').status == 412
    assert served.holds_images(False)


def _refuses(bench: Bench, served: Served, row: Row, image_id: str, status: int) -> None:
    answer = served.ask(row.path + image_id)
    expected = get(bench.api, f"/v1/images/{image_id}")
    assert answer.status == expected.status_code == status
    assert answer.headers["content-type"] == expected.headers["Content-Type"]
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.body == expected.body
    assert served.holds_images(False)


def _forbidden(bench: Bench, served: Served, row: Row) -> None:
    _refuses(bench, served, row, "restricted", 403)
    assert served.ask(row.path + "restricted", "HEAD").status == 200


def _not_found(bench: Bench, served: Served, row: Row) -> None:
    _refuses(bench, served, row, "absent", 404)
    _refuses(bench, served, row, "private", 404)
    assert served.ask(row.path + "absent", "HEAD").status == 404


def _caller(bench: Bench, served: Served, row: Row) -> None:
    """The host's own identity arrives; what only a header claims does not."""
    assert served.ask(row.path + "private", user="alice").body == GIVEN
    assert served.ask(row.path + "restricted", user="alice").body == GIVEN
    assert served.ask(row.path + "private", user="bob").status == 404
    assert served.ask(row.path + "restricted", user="bob").status == 403
    forged = {"X_User_Id": "alice", "X_Project_Id": "alice", "Remote_User": "alice"}
    answer = served.ask(row.path + "private", X_Identity_Status="Confirmed", **forged)
    assert answer.status == 404


def _leaves(bench: Bench, served: Served, row: Row) -> None:
    """The data is open while a client reads it, and closed when the client has left."""
    with served.asking(row.path + "big") as response:
        assert response.read(100_000) == bytes(100_000)
        assert served.holds_images(True)
    assert served.holds_images(False)
    for method in ("GET", "HEAD"):
        served.leave(row.path + "big", method)
        # It has been seen by the time that the next one is answered.
        assert served.ask(row.path + "big", "HEAD").status == 200
        assert served.holds_images(False)


def _broken_off(bench: Bench, served: Served, row: Row) -> None:
    """Corrupt and truncated data: fewer bytes than were announced, then the end."""
    with served.asking(row.path + "corrupt") as response:
        _is_broken(response, len(GIVEN))
    image_id = f"shrinks-{ROWS.index(row)}"
    bench.add_zeros(image_id)
    with served.asking(row.path + image_id) as response:
        response.read(100_000)
        os.truncate(bench.deployment.data_path(image_id), BIG // 2)
        _is_broken(response, BIG)
    assert served.holds_images(False)


def _is_broken(response: http.client.HTTPResponse, length: int) -> None:
    assert response.status == 200
    assert response.getheader("Content-Length") == str(length)
    try:
        response.read()
    except (http.client.IncompleteRead, ConnectionResetError):
        return
    raise AssertionError("the body was complete")


COLUMNS: Mapping[str, Callable[[Bench, Served, Row], None]] = {
    "GET": _get,
    "HEAD": _head,
    "range": _range,
    "304, 412": _conditions,
    "403": _forbidden,
    "404": _not_found,
    "caller": _caller,
    "client leaves: closed": _leaves,
    "corrupt: broken off": _broken_off,
}

_TABLE = re.compile(r"(?<=<!-- the table -->\n).*?(?=<!-- its end -->)", re.DOTALL)


def table_of_the_page() -> str:
    """The table that docs/frameworks.md has."""
    (table,) = _TABLE.findall(PAGE.read_text())
    return str(table)


def main() -> None:
    """Write the table into the page."""
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        table = bench.table()
    PAGE.write_text(_TABLE.sub(lambda _: table, PAGE.read_text()))


if __name__ == "__main__":
    main()
