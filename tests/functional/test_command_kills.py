# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` in the middle of the commands that write: nothing half-done is served."""

import hashlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import imageapi
from imageapi.commands import main
from tests.deployment import Deployment, get
from tests.functional.swift import Swift, swift_configuration, v1_options

MIB = 1024 * 1024
OLD = random.Random(1).randbytes(2 * MIB + 1)
NEW = random.Random(2).randbytes(3 * MIB + 2)

#: The moments, as parts of the duration of a command that nobody kills.  KILLS=50 takes more.
RANDOM = random.Random(3)
MOMENTS = [RANDOM.uniform(0, 1.1) for _ in range(int(os.environ.get("KILLS", "5")))]

Command = tuple[str, ...]
COMMANDS: dict[str, Command] = {
    "add": ("add", "NEW", "--id", "new", "--public"),
    "replace": ("replace", "i", "NEW"),
    "set": ("set", "i", "--name", "changed", "--property", "a=b"),
    "deactivate": ("deactivate", "i"),
    "activate": ("activate", "i"),
    "remove": ("remove", "i"),
    "import": ("import", "new", "--from", "SOURCE"),
}

pytestmark = pytest.mark.timeout(300)


class Place:
    """The swift_configuration that the commands use, and what they read."""

    def __init__(self, folder: Path, config: Path, new: bytes = NEW) -> None:
        self.folder = folder
        self.config = config
        self.new = new
        self.source = Deployment(folder / "source")
        self.source.add("new", new)
        (folder / "OLD").write_bytes(OLD)
        (folder / "NEW").write_bytes(new)

    def words(self, command: Command) -> list[str]:
        """The arguments of a command line."""
        paths = {"NEW": self.folder / "NEW", "OLD": self.folder / "OLD"}
        paths["SOURCE"] = self.source.config_file
        return [
            "--config-file",
            str(self.config),
            *(str(paths.get(word, word)) for word in command),
        ]

    def run(self, *command: str) -> int:
        """Run a command in a process of its own; its exit status."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(*command), 0)[1])

    def start(self, *command: str) -> int:
        """Start a command in a copy of this process, which has imported everything."""
        child = os.fork()
        if child:
            return child
        status = 70
        try:
            # Not the objects by which pytest captures the output of the tests.
            sys.stdout = sys.stderr = open(self.folder / "output", "a")  # noqa: SIM115 - closed with the process
            # SIGKILL, unlike a power failure, loses nothing that was written.
            os.fsync = lambda fd: None
            status = main.main(self.words(command))
        finally:
            os._exit(status)

    def kill_after(self, seconds: float, *command: str) -> None:
        """Start a command, and kill it."""
        child = self.start(*command)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def served(self) -> dict[str, bytes | None]:
        """What the service sends of each image that it has; None for what it does not send."""
        with closing(imageapi.ImageAPI(imageapi.load_config([str(self.config)]))) as api:
            answers = {image_id: get(api, f"/v1/images/{image_id}") for image_id in ("i", "new")}
            for answer in answers.values():
                # 403: it is deactivated.
                assert answer.status_code in (200, 403, 404)
                if answer.status_code == 200:
                    assert answer.headers["Etag"] == hashlib.md5(answer.body).hexdigest()
            return {
                image_id: answer.body if answer.status_code == 200 else None
                for image_id, answer in answers.items()
            }


def check_state(place: Place, name: str) -> None:
    """What is served is the state before the command, or the one after it."""
    served = place.served()
    allowed: dict[str, list[dict[str, bytes | None]]] = {
        "add": [{"i": OLD, "new": None}, {"i": OLD, "new": place.new}],
        "import": [{"i": OLD, "new": None}, {"i": OLD, "new": place.new}],
        "replace": [{"i": OLD, "new": None}, {"i": place.new, "new": None}],
        "set": [{"i": OLD, "new": None}],
        "deactivate": [{"i": OLD, "new": None}, {"i": None, "new": None}],
        "activate": [{"i": OLD, "new": None}, {"i": None, "new": None}],
        "remove": [{"i": OLD, "new": None}, {"i": None, "new": None}],
    }
    assert served in allowed[name]
    assert place.run("list") == 0
    # Status 0: all that is served is whole, and what is left was named.
    (place.folder / "output").write_text("")
    assert place.run("verify", "--all") == 0


def add_old(place: Place, name: str) -> None:
    """Add the image that a command changes."""
    assert place.run("add", "OLD", "--id", "i", "--public") == 0
    if name == "activate":
        assert place.run("deactivate", "i") == 0


def duration(place: Place, command: Command, prepare: Callable[[], None]) -> float:
    prepare()
    begin = time.monotonic()
    assert place.run(*command) == 0
    return time.monotonic() - begin


@pytest.mark.parametrize("name", COMMANDS)
def test_files(tmp_path: Path, name: str) -> None:
    deployment = Deployment(tmp_path / "deployment")
    place = Place(tmp_path, deployment.config_file)

    def prepare() -> None:
        for folder in (deployment.images, deployment.registry):
            for path in folder.iterdir():
                path.unlink()
        add_old(place, name)

    seconds = duration(place, COMMANDS[name], prepare)
    for moment in MOMENTS:
        prepare()
        place.kill_after(moment * seconds, *COMMANDS[name])
        check_state(place, name)
        said = (tmp_path / "output").read_text()
        used = 2 * said.count("images: 2") + said.count("images: 1")
        left = os.listdir(deployment.images) + os.listdir(deployment.registry)
        assert said.count("no record uses ") == len(left) - 2 * used
        if name == "import":
            # Repeated, it takes the data that was left without a record.
            assert place.run(*COMMANDS[name]) == 0
            assert place.served() == {"i": OLD, "new": NEW}
            assert sorted(os.listdir(deployment.images)) == ["i", "new"]


def test_export(tmp_path: Path) -> None:
    """The folder has the whole image, or `import` finds none in it."""
    deployment = Deployment(tmp_path / "deployment")
    place = Place(tmp_path, deployment.config_file)
    add_old(place, "export")
    target = Deployment(tmp_path / "target")
    folder = tmp_path / "exported"

    def prepare() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    command = ("export", "i", "--to", str(folder))
    seconds = duration(place, command, prepare)
    for moment in MOMENTS:
        prepare()
        place.kill_after(moment * seconds, *command)
        words = ["--config-file", str(target.config_file), "import", str(folder)]
        assert main.main(words) == 0
        if target.record_path("i").exists():
            assert target.data_path("i").read_bytes() == OLD
            assert main.main([*words[:2], "remove", "i"]) == 0
        # Repeated, it replaces what was left.
        assert place.run(*command) == 0
        assert (folder / "i.img").read_bytes() == OLD


# In Swift, the two others write the record as `set` does.
@pytest.mark.parametrize("name", [one for one in COMMANDS if "activate" not in one])
def test_swift(swift: Swift, tmp_path: Path, name: str) -> None:
    config = tmp_path / "imageapi.conf"
    config.write_text(swift_configuration(v1_options(swift), f"segment_size = {MIB}"))
    place = Place(tmp_path, config)

    def prepare() -> None:
        with closing(swift.client()) as client:
            for container in ("records", "images", "images_segments"):
                client.put_container(container)
                for entry in client.get_container(container)[1]:
                    client.delete_object(container, entry["name"])
        add_old(place, name)

    seconds = duration(place, COMMANDS[name], prepare)
    for moment in MOMENTS[:10]:
        prepare()
        place.kill_after(moment * seconds, *COMMANDS[name])
        check_state(place, name)


PAIRS = [("set", "set"), ("replace", "remove"), ("add", "add"), ("replace", "replace")]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_commands_at_the_same_moment(tmp_path: Path, one: str, other: str) -> None:
    """One wins, and none is half."""
    deployment = Deployment(tmp_path / "deployment")
    place = Place(tmp_path, deployment.config_file)
    for moment in MOMENTS[:10]:
        for folder in (deployment.images, deployment.registry):
            for path in folder.iterdir():
                path.unlink()
        assert place.run("add", "OLD", "--id", "i", "--public") == 0
        first = place.start(*COMMANDS[one])
        time.sleep(moment * 0.02)
        second = place.start(*COMMANDS[other])
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in (first, second)]
        assert 0 in statuses
        assert set(statuses) <= {0, 1}
        if (one, other) == ("add", "add"):
            assert sorted(statuses) == [0, 1]
        served = place.served()
        assert served["i"] in (OLD, NEW, None)
        (tmp_path / "output").write_text("")
        assert place.run("verify", "--all") == 0
        assert "no record uses" not in (tmp_path / "output").read_text()
