# SPDX-License-Identifier: Apache-2.0
"""``kill -9`` in the middle of the commands that write to S3: nothing half-done is served."""

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from imageapi.backends.s3.data_writer import S3DataWriter
from imageapi.backends.s3.listing import objects_in, uploads_in
from imageapi.backends.s3.store import S3Store
from imageapi.testing.suite import build
from tests.configuration import option_lines
from tests.deployment import Deployment
from tests.functional.s3 import s3_options
from tests.functional.swift import Swift, v1_options
from tests.functional.test_command_kills import (
    COMMANDS,
    MIB,
    MOMENTS,
    OLD,
    Place,
    add_old,
    check_state,
    duration,
)
from tests.functional.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

#: More than the smallest part, so that the data is uploaded in two.
PART = 5 * MIB
IN_PARTS = random.Random(4).randbytes(PART + 1)

SECTIONS = """\
[imageapi_store_s3]
bucket = objects
segment_size = {part}
{s3}
[imageapi_registry_swift]
container = records
{swift}
"""


class S3Place(Place):
    """Data in S3, and records in files or in Swift."""

    def __init__(self, folder: Path, swift: Swift, registry: str, store: S3Store) -> None:
        self._deployment = Deployment(folder / "deployment")
        sections = SECTIONS.format(
            part=PART, s3=option_lines(s3_options(swift)), swift=option_lines(v1_options(swift))
        )
        self._deployment.configure(f"registry = {registry}\nstores = s3", sections)
        super().__init__(folder, self._deployment.config_file, IN_PARTS)
        self._swift = swift
        self._store = store

    def prepare(self, name: str) -> None:
        """Remove all, and add the image that a command changes."""
        for path in self._deployment.registry.iterdir():
            path.unlink()
        with closing(self._swift.client()) as client:
            for container in ("records", "objects"):
                client.put_container(container)
                for entry in client.get_container(container)[1]:
                    client.delete_object(container, entry["name"])
        for one in S3DataWriter(self._store).leftovers(()):
            one.remove()
        add_old(self, name)

    def names_what_is_left(self, name: str) -> bool:
        """Whether ``verify`` has named all objects and uploads without a record, and no others."""
        named = (self.folder / "output").read_text().count("no record uses ")
        used = sum(data is not None for data in self.served().values())
        client = self._store.client
        found = [*objects_in(client, "objects"), *uploads_in(client, "objects")]
        if named == len(found) - used:
            return True
        # Swift may have ended a request of the killed command after that.
        check_state(self, name)
        return False


@pytest.fixture
def objects(swift: Swift) -> Iterator[S3Store]:
    with closing(build(S3Store, bucket="objects", **s3_options(swift))) as store:
        yield store


# Each registry gets half of the moments, since the same code writes to S3.
@pytest.mark.parametrize(
    ("registry", "moments"), [("file", MOMENTS[::2]), ("swift", MOMENTS[1::2])]
)
@pytest.mark.parametrize("name", ["add", "replace", "remove", "import"])
def test_killed_command(
    swift: Swift,
    objects: S3Store,
    tmp_path: Path,
    name: str,
    registry: str,
    moments: Sequence[float],
) -> None:
    place = S3Place(tmp_path, swift, registry, objects)
    seconds = duration(place, COMMANDS[name], lambda: place.prepare(name))
    for moment in moments:
        place.prepare(name)
        place.kill_after(moment * seconds, *COMMANDS[name])
        check_state(place, name)
        wait_until(lambda: place.names_what_is_left(name), "verify does not name what is left")
        if name == "import":
            assert place.run(*COMMANDS[name]) == 0
            assert place.served() == {"i": OLD, "new": IN_PARTS}
