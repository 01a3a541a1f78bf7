# SPDX-License-Identifier: Apache-2.0
"""The download of a client that reads nothing is broken off; that of a slow client is not.

The system buffers only little of the image for a slow client.
"""

import http.client
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.functional.http_client import begin, connect_with_small_buffer
from tests.functional.servers import Running
from tests.functional.wsgi_servers import (
    behind_nginx,
    by_command,
    changed_gunicorn,
    gunicorn,
    uwsgi,
)
from tests.paths import BIN

DATA = os.urandom(1_000_000) * 50

# For how many seconds a client may read nothing.  On a busy machine the slow client itself may
# pause that long: the test then repeats the download with the next number.
SECONDS = (2, 8, 32)

Start = Callable[[Deployment], AbstractContextManager[Running]]


def impatient_serve(seconds: int) -> Start:
    serve = by_command(str(BIN / "imageapi"), "--config-file", "CONFIG", "serve", "--port", "PORT")

    def start(deployment: Deployment) -> AbstractContextManager[Running]:
        deployment.configure(more=f"[imageapi_serve]\nstall_timeout = {seconds}")
        return serve(deployment)

    return start


def impatient_gunicorn(seconds: int) -> Start:
    return changed_gunicorn(("300_000", str(seconds * 1000)))


def impatient_uwsgi(seconds: int) -> Start:
    return uwsgi(("socket-timeout = 300", f"socket-timeout = {seconds}"))


def impatient_nginx(seconds: int) -> Start:
    return behind_nginx(gunicorn(), ("send_timeout 300s", f"send_timeout {seconds}s"))


# The examples with another timeout.
SERVERS: dict[str, Callable[[int], Start]] = {
    "serve": impatient_serve,
    "gunicorn": impatient_gunicorn,
    "uwsgi": impatient_uwsgi,
    "nginx": impatient_nginx,
}


@contextmanager
def little_read(server: Running) -> Iterator[http.client.HTTPResponse]:
    """A download of which a little was read, by a client with a small buffer."""
    with server.connection() as connection:
        # A server listens before it sets the options that its connections inherit.
        assert begin(connection, "/v1/images/image", "HEAD").read() == b""
    with server.connection() as connection:
        connect_with_small_buffer(connection)
        with begin(connection, "/v1/images/image") as response:
            assert response.read(100_000) == DATA[:100_000]
            yield response


class LongestPause:
    """How regularly the slow client reads.

    :ivar longest: the most seconds from one read to the next.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.monotonic()

    def note(self) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - self._last)
        self._last = now


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SERVERS)
def test_slow_client(name: str, deployment: Deployment) -> None:
    deployment.add("image", DATA)
    for seconds in SECONDS:
        with SERVERS[name](seconds)(deployment) as server:
            pace = LongestPause()
            try:
                download_slowly(server, deployment.data_path("image"), seconds * 0.15, pace)
            except (AssertionError, http.client.IncompleteRead, ConnectionError):
                pace.note()
                if pace.longest < seconds / 2:
                    raise
            else:
                return
    raise AssertionError("the slow client never read in time")


def download_slowly(server: Running, path: Path, pause: float, pace: LongestPause) -> None:
    """Read an image slowly, while the download of a client that reads nothing is broken off."""
    with little_read(server) as stalled, little_read(server) as slow:
        assert server.open_on(path) == 2
        read = [DATA[:100_000]]
        while server.open_on(path) == 2 and len(read) < 45:
            read.append(slow.read(1_000_000))
            pace.note()
            time.sleep(pause)
        assert server.open_on(path) == 1
        read.append(slow.read())
        assert b"".join(read) == DATA
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            stalled.read()


@pytest.mark.parametrize("name", ["serve", "gunicorn"])
def test_little_is_held_for_a_slow_client(name: str, deployment: Deployment) -> None:
    deployment.configure(core="chunk_size = 65536")
    deployment.add("image", DATA)
    with SERVERS[name](300)(deployment) as server, little_read(server):
        read, before = 0, -1
        while read != before:
            time.sleep(0.5)
            before, read = read, reached(server, deployment.data_path("image"))
        # 128 KiB of unsent data, the client's buffer, and a chunk.
        assert 100_000 < read < 1_000_000


def reached(server: Running, path: Path) -> int:
    """The position up to which the server has read a file."""
    for process in server.children():
        for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
            if os.readlink(descriptor) == str(path):
                told = Path(f"/proc/{process.pid}/fdinfo/{descriptor.name}").read_text()
                return int(told.split()[1])
    raise AssertionError("it is not open")
