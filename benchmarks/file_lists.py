# SPDX-License-Identifier: Apache-2.0
"""How long pages of lists take with 100,000 records in a folder, beside Glance with SQLite."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.pages import Lists, milliseconds, side_by_side
from benchmarks.processes import PeakMemory
from benchmarks.workplace import Workplace
from tests.deployment import Deployment
from tests.functional.openstack import open_glance
from tests.functional.servers import free_port

_MIB = 1024 * 1024

# Not of the first page, which reads all records.
_SOON = Aim("<", 300.0)
_SMALL = Aim("<", 100.0)

_COLUMNS = (
    "id, name, size, status, visibility, created_at, updated_at, deleted, checksum, min_disk,"
    " min_ram, protected, disk_format, container_format, os_hidden"
)
_PROPERTY_COLUMNS = "image_id, name, value, created_at, updated_at, deleted"


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; both servers have the same images, and are asked in turns."""
    folder = workplace.folder / "file-lists"
    (folder / "glance").mkdir(parents=True)
    deployment = Deployment(folder / "records")
    deployment.configure()
    images = [_image(number) for number in range(effort.records)]
    for image in images:
        _write(deployment, image)
    port = free_port()
    with (
        open_glance(folder / "glance", port),
        servers.imageapi(servers.GUNICORN, deployment.config_file) as served,
    ):
        # Glance makes the tables before it answers.
        glance = Lists(port, "/v2/images")
        glance.page("")
        _insert(folder / "glance" / "glance.db", images)
        ours = Lists(served.port, "/v1/images/detail")
        yield from _figures(ours, glance, PeakMemory(served.pid), deployment, effort)


def _figures(
    ours: Lists, glance: Lists, memory: PeakMemory, deployment: Deployment, effort: Effort
) -> Iterator[Figure]:
    case = f"{effort.records} records in a folder"
    glance.page("")
    yield milliseconds(f"{case}, first page of the process", [ours.page("")])
    for name, parameters in (
        ("page", ""),
        ("page by name", "sort_key=name&sort_dir=asc"),
        ("page of those with a name", "name=image+17"),
    ):
        walks = [(ours.walk(parameters), glance.walk(parameters)) for _ in range(effort.rounds)]
        yield from side_by_side(f"{case}, {name}", walks, _SOON)
    lasts = [(ours.last_page(), glance.last_page()) for _ in range(effort.rounds)]
    yield from side_by_side(f"{case}, last page", lasts, _SOON)
    added = []
    for number in range(effort.rounds):
        _write(deployment, {**_image(0), "id": f"added-{number}"})
        added.append(ours.page(""))
    yield milliseconds(f"{case}, page after one was added", added, _SOON)
    grown = [memory.growth() / _MIB]
    yield Figure(
        name=f"{case}, growth of the processes by lists",
        unit="MiB",
        ours=grown,
        judged=Judged.ITSELF,
        aim=_SMALL,
    )


def _image(number: int) -> dict[str, Any]:
    return {
        "id": f"{number * 7919 % 1_000_003:08d}-0000-4000-8000-000000000000",
        "name": f"image {number % 1000}",
        "size": number,
        "created_at": f"2026-{number % 12 + 1:02d}-{number % 28 + 1:02d} 08:{number % 60:02d}:00",
        "checksum": f"{number:032x}",
        "properties": {"os_distro": "ubuntu", "os_version": "24.04", "number": str(number % 50)},
    }


def _write(deployment: Deployment, image: dict[str, Any]) -> None:
    formats = {"disk_format": "qcow2", "container_format": "bare"}
    record = {"status": "active", "is_public": True, "updated_at": image["created_at"], **formats}
    path = deployment.record_path(str(image["id"]))
    written = Path(f"{path}.new")
    written.write_text(json.dumps({**record, **image}))
    written.rename(path)


def _insert(database: Path, images: list[dict[str, Any]]) -> None:
    """Add the images and their properties to Glance's database."""
    rows = (
        (
            *(image["id"], image["name"], image["size"], "active", "public"),
            *(_time(image), _time(image), 0, image["checksum"], 0, 0, 0),
            *("qcow2", "bare", 0),
        )
        for image in images
    )
    properties = (
        (image["id"], name, value, _time(image), _time(image), 0)
        for image in images
        for name, value in image["properties"].items()
    )
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, columns, values in (
            ("images", _COLUMNS, rows),
            ("image_properties", _PROPERTY_COLUMNS, properties),
        ):
            marks = ", ".join("?" * (columns.count(",") + 1))
            # Only names and marks of this module are in the statement.
            connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)


def _time(image: dict[str, Any]) -> str:
    """When an image was created, as Glance writes it: SQLite compares it as text."""
    return f"{image['created_at']}.000000"
