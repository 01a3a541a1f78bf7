# SPDX-License-Identifier: Apache-2.0
"""How long pages of lists take with 10,000 records in Swift."""

import collections
import json
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import imageapi
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure, Judged
from benchmarks.workplace import Workplace
from imageapi import document
from imageapi.backends.listing import ListQuery
from imageapi.backends.listing_index import ListIndex, entry_of
from tests.deployment import get
from tests.functional.swift import Swift, running_swift, swift_configuration, v1_options

_RECORDS = 10_000
_UPLOADS_AT_ONCE = 4
_PAGES = 15
_MIB = 1024 * 1024

# Only after the first page, which reads all records.
_WITHIN_A_SECOND = Aim("<", 1.0)


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures, of one imageapi in this process."""
    count = min(effort.records, _RECORDS)
    folder = workplace.folder / "swift-lists"
    folder.mkdir()
    with running_swift(folder) as swift:
        _upload(swift, count)
        yield from _figures(_api(swift, folder), f"{count} records in Swift")
    yield _memory(count)


def _figures(api: imageapi.ImageAPI, case: str) -> Iterator[Figure]:
    with closing(api):
        seconds, last = _page(api, "")
        yield _seconds(f"{case}, first page", [seconds])
        following = []
        for _ in range(_PAGES):
            seconds, last = _page(api, f"&marker={last}")
            following.append(seconds)
        yield _seconds(f"{case}, page after it", following, _WITHIN_A_SECOND)
        filtered = [_page(api, "&property-number=5")[0] for _ in range(_PAGES)]
        yield _seconds(f"{case}, filter by property", filtered, _WITHIN_A_SECOND)
        by_name = [_page(api, "&sort_key=name&sort_dir=asc")[0] for _ in range(_PAGES)]
        yield _seconds(f"{case}, by name", by_name, _WITHIN_A_SECOND)
        yield _seconds(f"{case}, page of 1000", [_page(api, "&limit=1000")[0]])


def _memory(count: int) -> Figure:
    documents = ((_image_id(number), json.dumps(_record(number))) for number in range(count))
    index = ListIndex()
    tracemalloc.start()
    index.update(entry_of(document.parse(data.encode(), image_id)) for image_id, data in documents)
    collections.deque(index.select(ListQuery()), maxlen=0)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    case = f"{count} records, memory of the index"
    return Figure(name=case, unit="MiB", ours=[size / _MIB], judged=Judged.ITSELF)


def _seconds(name: str, numbers: list[float], aim: Aim | None = None) -> Figure:
    return Figure(name=name, unit="s", ours=numbers, judged=Judged.ITSELF, aim=aim)


def _page(api: imageapi.ImageAPI, parameters: str) -> tuple[float, str]:
    """The seconds that a page took, and the id of its last image."""
    started = time.perf_counter()
    response = get(api, f"/v1/images/detail?{parameters}")
    seconds = time.perf_counter() - started
    if response.status_code != 200:
        raise RuntimeError(f"a list is answered with status {response.status_code}")
    return seconds, json.loads(response.body)["images"][-1]["id"]


def _api(swift: Swift, folder: Path) -> imageapi.ImageAPI:
    config = folder / "imageapi.conf"
    config.write_text(swift_configuration(v1_options(swift)))
    return imageapi.ImageAPI(imageapi.load_config([config]))


def _upload(swift: Swift, count: int) -> None:
    with closing(swift.client()) as client:
        client.put_container("records")

    def upload(first: int) -> None:
        with closing(swift.client()) as client:
            for number in range(first, count, _UPLOADS_AT_ONCE):
                record = json.dumps(_record(number))
                client.put_object("records", f"{_image_id(number)}.json", record)

    with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as threads:
        list(threads.map(upload, range(_UPLOADS_AT_ONCE)))


def _image_id(number: int) -> str:
    return f"{number * 7919 % 1_000_003:08d}-0000-4000-8000-000000000000"


def _record(number: int) -> dict[str, object]:
    time_text = f"2026-{number % 12 + 1:02d}-{number % 28 + 1:02d}T08:{number % 60:02d}:00Z"
    properties = {f"property_{one}": f"value {one}" for one in range(4)}
    return {
        "status": "active",
        "is_public": True,
        "name": f"image {number}",
        "disk_format": "qcow2",
        "container_format": "bare",
        "size": number,
        "checksum": f"{number:032x}",
        "created_at": time_text,
        "updated_at": time_text,
        "owner": f"project-{number % 100}",
        "properties": {**properties, "number": str(number % 50)},
    }
