# SPDX-License-Identifier: Apache-2.0
"""Download programs such as wget, started as users start them, and the files that they leave."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests
from glanceclient import exc as glance_errors
from glanceclient.v1.client import Client as GlanceClient

from tests.paths import ROOT

# scripts/setup-clients installs here the programs that the machine lacks.
FOLDER = ROOT / ".clients"

# Seconds; longer than any download here takes on a busy machine.
_TIMEOUT = 100

# One coroutine: with several, qemu-img 7.2 on a busy machine often waits for ever, although it
# has received everything.  It does so with files of nginx too.
_QEMU_CONVERT = ("qemu-img", "convert", "-m", "1", "-f", "raw", "-O", "raw")

# qemu-img sometimes waits for ever after a failed read: then it is killed.
_QEMU_TIMEOUT = 40

# How often a client that keeps its partial file is started again.
_RESTARTS = 3


class Left(NamedTuple):
    """The state after a client has ended.

    :ivar succeeded: whether its last run ended with status 0.
    :ivar data: the content of the file; None if there is no file.
    :ivar is_begun_only: whether the client itself marks the file as incomplete.
    :ivar output: the client's output, for the message of a failed test.
    """

    succeeded: bool
    data: bytes | None
    is_begun_only: bool
    output: str


#: Downloads a URL to a file; returns when the client has succeeded or given up.
Download = Callable[[str, Path], Left]


def program(name: str) -> str:
    """The path of a program.

    :raises RuntimeError: it is missing.
    """
    found = shutil.which(name, path=f"{FOLDER}/usr/bin:{os.environ['PATH']}")
    if found is None:
        raise RuntimeError(f"{name} is missing: run scripts/setup-clients")
    return found


def environ(folder: Path) -> Mapping[str, str]:
    """The environment of a client: no user settings, no proxies, the libraries of `FOLDER`."""
    libraries = [str(path) for path in (*FOLDER.glob("usr/lib/*-linux-gnu*"), FOLDER / "usr/lib")]
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C",
        "LD_LIBRARY_PATH": ":".join(libraries),
    }


@contextmanager
def started(command: Sequence[str], folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Start a client; it is killed if it still runs when the block ends."""
    process = subprocess.Popen(
        [program(command[0]), *command[1:]],
        cwd=folder,
        env=environ(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_client(command: Sequence[str], folder: Path, timeout: float = _TIMEOUT) -> tuple[int, str]:
    """Run a client to its end; returns its exit status and its output."""
    with started(command, folder) as process:
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, f"{' '.join(command)}\n{output[-2000:]}"


# The commands. {url} stands for the address, {name} for the file.

_CURL: tuple[str, ...] = ("curl", "--fail", "--silent", "--show-error", "--output", "{name}")
_ARIA2: tuple[str, ...] = (
    "aria2c",
    "--no-conf",
    "-x4",
    "-s4",
    "-k1M",
    "--max-tries=3",
    "--out={name}",
)
_ARIA2 += ("--summary-interval=0", "--console-log-level=warn")


class Commands(NamedTuple):
    """The first command of a client, and the command to run again if that failed."""

    first: Sequence[str]
    again: Sequence[str] | None

    @property
    def resumed(self) -> "Commands":
        """The commands that continue with a partial file."""
        return Commands(self.again or self.first, self.again)

    def lines(self, url: str, name: str) -> Iterator[list[str]]:
        """The commands to run one after another, until one succeeds."""
        again = [self.again] * _RESTARTS if self.again else []
        for command in (self.first, *again):
            yield [word.format(url=url, name=name) for word in command]


COMMANDS: Mapping[str, Commands] = {
    # wget itself asks for the rest, up to 20 times, here without a pause.
    "wget": Commands(("wget", "--waitretry=0", "{url}"), None),
    "wget -c": Commands(("wget", "--tries=1", "{url}"), ("wget", "-c", "--tries=1", "{url}")),
    "curl -C -": Commands((*_CURL, "{url}"), (*_CURL, "-C", "-", "{url}")),
    "curl --retry": Commands(
        (*_CURL, "--retry", "2", "--retry-all-errors", "--retry-delay", "1", "{url}"), None
    ),
    "curl --retry -C -": Commands(
        (*_CURL, "--retry", "2", "--retry-all-errors", "--retry-delay", "1", "-C", "-", "{url}"),
        None,
    ),
    "aria2c": Commands((*_ARIA2, "{url}"), (*_ARIA2, "--continue=true", "{url}")),
}


def with_commands(commands: Commands, url: str, target: Path) -> Left:
    """Run a client, and run it again while it fails and can continue."""
    output = []
    status = None
    for line in commands.lines(url, target.name):
        status, said = run_client(line, target.parent)
        output.append(said)
        if status == 0:
            break
    return left_of(target, status == 0, "\n".join(output))


def left_of(target: Path, succeeded: bool, output: str) -> Left:
    # aria2 creates the file in its full size, and lists the missing parts in a file beside it.
    is_begun_only = target.with_name(f"{target.name}.aria2").exists()
    data = target.read_bytes() if target.exists() else None
    return Left(succeeded, data, is_begun_only, output)


def with_qemu_img(url: str, target: Path) -> Left:
    """Copy a raw disk with ``qemu-img convert``."""
    command = [*_QEMU_CONVERT, url, target.name]
    try:
        status, output = run_client(command, target.parent, _QEMU_TIMEOUT)
    except subprocess.TimeoutExpired as hanging:
        status, output = None, str(hanging)
    # The file has the full size from the beginning.
    return left_of(target, status == 0, output)._replace(is_begun_only=status != 0)


def with_glanceclient(url: str, target: Path) -> Left:
    """Write the chunks of glanceclient's iterator to a file, as its users do."""
    endpoint, _, image_id = url.partition("/v1/images/")
    client = GlanceClient(endpoint, token="t")
    try:
        with target.open("wb") as file:
            for chunk in client.images.data(image_id):
                file.write(chunk)
    except (requests.exceptions.RequestException, glance_errors.HTTPException, OSError) as error:
        return left_of(target, False, repr(error))
    return left_of(target, True, "")


def downloads_by_client() -> Mapping[str, Download]:
    """The download function of each client, by its name."""

    def of(commands: Commands) -> Download:
        return lambda url, target: with_commands(commands, url, target)

    by_command = {name: of(commands) for name, commands in COMMANDS.items()}
    return {**by_command, "qemu-img": with_qemu_img, "glanceclient": with_glanceclient}
