# SPDX-License-Identifier: Apache-2.0
import logging
from collections.abc import Callable, Iterator

import pytest

from imageapi.commands import main
from tests.deployment import Deployment

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command sets logging up as an application does."""
    root, ours = logging.getLogger(), logging.getLogger("imageapi")
    before = root.level, root.handlers[:], ours.level
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    ours.setLevel(before[2])


@pytest.fixture
def run(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command over the deployment: its status, its output, and its errors.

    A wrong command line is status 2, as in a process.
    """

    def command(*words: str) -> tuple[int, str, str]:
        try:
            status = main.main(["--config-file", str(deployment.config_file), *words])
        except SystemExit as end:
            status = int(str(end.code))
        return status, *capsys.readouterr()

    return command
