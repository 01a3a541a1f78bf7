# SPDX-License-Identifier: Apache-2.0
"""What a real PostgreSQL and a real MariaDB share: tests stop, kill and freeze them."""

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tests.functional.servers import free_port, running
from tests.functional.waiting import wait_until

# The login that owns the databases, as Glance's own does.
OWNER = "glance"
OWNER_PASSWORD = "hunter2-of-glance"
# A login that may only read the tables of `READABLE`.
READER = "imageapi"
READER_PASSWORD = "hunter2-of-imageapi"
# The tables of Glance that a registry reads.
READABLE = ("images", "image_properties", "image_locations", "image_members")


class DatabaseServer(ABC):
    """A database server with a fresh data directory.

    :ivar folder: its data is below it, and its log is ``output.log``.
    :ivar port: of loopback; the same after each start.
    """

    #: SQLAlchemy's name of the database and of the usual driver.
    dialect: str
    #: ends the server although clients are connected.
    stop_signal: signal.Signals

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        """Make the data directory; `start` starts the server.

        :param folder: empty.
        :param environ: for its programs, in addition to that of the tests.
        """
        self.folder = folder
        self._environ = environ
        self.port = free_port()
        self._running = ExitStack()

    @abstractmethod
    def _command(self) -> list[str]:
        """The command that runs the server in its first process."""

    @abstractmethod
    def execute(self, statements: str, database: str = "") -> str:
        """Run statements as the server's administrator, with the server's own client.

        :param database: where they run; a database of the server itself if it is empty.
        :returns: the rows that were found: one a line, with tabs between the columns.
        """

    @abstractmethod
    def create_database(self, name: str) -> str:
        """Make an empty database that belongs to `OWNER`; returns its URL for SQLAlchemy."""

    @abstractmethod
    def create_reader(self, database: str) -> str:
        """Allow `READER` to read four tables of a database; returns the URL.

        :param database: has the tables of Glance.
        """

    def url(self, database: str, user: str = OWNER, password: str = OWNER_PASSWORD) -> str:
        """The URL of a database for SQLAlchemy."""
        return f"{self.dialect}://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.folder / "output.log"
        server = running(self._command(), self.port, log, self._environ)
        self.process = self._running.enter_context(server)
        wait_until(self._answers, f"the server does not answer: see {log}")

    def stop(self) -> None:
        """Stop it in order; it closes the connections of its clients."""
        self.process.send_signal(self.stop_signal)
        self.process.wait(60)
        self._running.close()

    def kill(self) -> None:
        """Kill all its processes; all connections break."""
        # Then none of them starts another one.
        self.freeze()
        processes = self._signal_children(signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        # Only then may it be started again with the same data.
        wait_until(lambda: all(map(_has_ended, processes)), "the server does not end")
        self._running.close()

    def freeze(self) -> None:
        """Make all its processes pause. Connections stay open, and new ones are made."""
        # The first process before the others, because it starts new ones.
        self.process.send_signal(signal.SIGSTOP)
        self._signal_children(signal.SIGSTOP)

    def thaw(self) -> None:
        """Make all its processes continue."""
        self._signal_children(signal.SIGCONT)
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it in order, and start it again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it if it runs, also while it is frozen."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.thaw()
            self.stop()

    def _signal_children(self, number: signal.Signals) -> list[psutil.Process]:
        """Send a signal to the processes that its first one has started; returns them."""
        processes = psutil.Process(self.process.pid).children()
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                process.send_signal(number)
        return processes

    def _answers(self) -> bool:
        try:
            return self.execute("SELECT 1;") == "1\n"
        except subprocess.CalledProcessError:
            return False

    def _run(self, command: Sequence[str], statements: str = "") -> str:
        """Run one of its programs, and return the output.

        :raises subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(
            command,
            input=statements,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, **self._environ},
        )
        return done.stdout


def _has_ended(process: psutil.Process) -> bool:
    """Also where its new parent, the first process of the machine, has not noticed it yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def running_database(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """Run a database server until the block ends."""
    try:
        server.start()
        yield server
    finally:
        server.close()
