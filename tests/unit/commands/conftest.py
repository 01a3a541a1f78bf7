# SPDX-License-Identifier: Apache-2.0
import contextlib
import logging
from collections.abc import Callable, Generator, Iterator

import pytest

from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.commands import main
from imageapi.errors import BackendError
from imageapi.image import Image
from tests.cached import CachedDeployment
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


@pytest.fixture
def cached_deployment(deployment: Deployment) -> CachedDeployment:
    """The deployment of the command, with a cache."""
    cached = CachedDeployment(deployment.folder / "cached")
    deployment.config_file = cached.config_file
    return cached


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry lists its images, in the simplest way."""

    def listed(
        self: FileRegistry, query: ListQuery, caller: Caller
    ) -> Generator[Image, None, None]:
        found = []
        for image_id in self.image_ids():
            with contextlib.suppress(BackendError):
                found.append(self.get(image_id, caller))
        for image in sorted(found, key=query.position, reverse=query.descending):
            if query.matching()(image) and query.is_after(query.position(image)):
                yield image

    monkeypatch.setattr(FileRegistry, "can_list", True)
    monkeypatch.setattr(FileRegistry, "list", listed)
