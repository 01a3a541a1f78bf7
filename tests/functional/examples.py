# SPDX-License-Identifier: Apache-2.0
"""The examples, run in a folder of their own as they say at their top."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.functional.servers import free_port, running
from tests.paths import BIN, EXAMPLES

_COMMAND = re.compile(r"^#? +((?:gunicorn|uvicorn) .*)$", re.MULTILINE)


def copy(example: str, folder: Path) -> list[str]:
    """Copy an example, a file or a folder, into one; returns how to run it there.

    :param folder: is made.
    """
    source = EXAMPLES / example
    if source.is_dir():
        shutil.copytree(source, folder)
        described = folder / "api-paste.ini"
    else:
        folder.mkdir()
        described = Path(shutil.copy(source, folder))
    (command,) = _COMMAND.findall(described.read_text())
    return shlex.split(command)


@contextmanager
def run(
    command: list[str], folder: Path, environ: Mapping[str, str] | None = None, hooks: str = ""
) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Run an example's command on a free port; yields that and the process.

    :param hooks: more of gunicorn's configuration.
    """
    port = free_port()
    program, *words = command
    if program == "gunicorn":
        (folder / "gunicorn.conf.py").write_text(f'bind = "127.0.0.1:{port}"\n{hooks}')
    else:
        words += ["--port", str(port)]
    log = folder / "server.log"
    with running([str(BIN / program), *words], port, log, dict(environ or {}), folder) as process:
        yield port, process
