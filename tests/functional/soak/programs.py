# SPDX-License-Identifier: Apache-2.0
"""Programs that resume downloads, curl and wget, and the files that they leave."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from tests.functional.download_clients import COMMANDS, run_client
from tests.functional.soak.history import CHANGED, Version
from tests.functional.soak.images import Changing
from tests.functional.soak.judge import Wrong
from tests.functional.soak.report import Report

# wget repeats by itself; curl is started again.
_NAMES = ("curl -C -", "wget", "wget -c")


class ProgramClient:
    """Downloads images with one program after another."""

    def __init__(
        self, port: int, images: Sequence[Changing], random: Random, report: Report, folder: Path
    ) -> None:
        """:param folder: empty; files are downloaded into it."""
        self._port = port
        self._images = images
        self._random = random
        self._report = report
        self._folder = folder

    def run(self, stopping: threading.Event) -> None:
        """Download until the storm is over or a file is wrong."""
        while not stopping.is_set():
            try:
                self._download(self._random.choice(self._images), self._random.choice(_NAMES))
            except Wrong as error:
                self._report.wrong.append(str(error))
                stopping.set()

    def _download(self, image: Changing, name: str) -> None:
        since = time.monotonic()
        url = f"http://127.0.0.1:{self._port}/v1/images/{image.id}"
        target = self._folder / image.id
        target.unlink(missing_ok=True)
        tries, is_complete = 0, False
        with image.being_read():
            for command in COMMANDS[name].lines(url, target.name):
                tries += 1
                status, _ = run_client(command, self._folder)
                if is_complete := status == 0:
                    break
        outcome = "not completed"
        if is_complete:
            outcome = self._judge(image, name, target.read_bytes(), since, tries)
        self._report.answered(name, outcome, None)

    def _judge(self, image: Changing, name: str, file: bytes, since: float, tries: int) -> str:
        """As `judge_file`, for requests that are not known one by one."""
        until = time.monotonic()
        facts = image.history.between(since, until)
        versions = {fact for fact in facts if isinstance(fact, Version)}
        if any(file == version.data for version in versions):
            return "complete" if tries == 1 else "resumed by a program"
        # wget repeats by itself.
        repeats = tries > 1 or name == "wget"
        if not repeats or (len(versions) == 1 and CHANGED not in facts):
            told = f"{image.id}, {name}: {len(file)} bytes, from {since:.3f} to {until:.3f}"
            raise Wrong(f"A WRONG FILE: {told}, facts: {sorted(map(str, facts))}")
        return "of two versions"
