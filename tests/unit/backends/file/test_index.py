# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imageapi.backends.file import indexed_files, record_file
from imageapi.backends.file.folder import file_name
from imageapi.backends.file.index import Index
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.listing import SORT_KEYS, ListQuery
from imageapi.caller import ANONYMOUS
from imageapi.errors import MalformedImage
from imageapi.image import Image
from imageapi.testing.suite import build
from tests.deployment import Deployment
from tests.unit.backends.file.listing_of_records import ALL, listed_ids


@contextmanager
def folder_of_records() -> Iterator[tuple[Path, FileRegistry]]:
    # Not a fixture, because each example of hypothesis needs its own.
    folder = Path(tempfile.mkdtemp())
    try:
        with closing(build(FileRegistry, directory=str(folder))) as lister:
            yield folder, lister
    finally:
        shutil.rmtree(folder)


def write(folder: Path, image_id: str, fields: dict[str, Any], *, in_place: bool) -> None:
    path = folder / f"{file_name(image_id)}.json"
    written = path if in_place else folder / ".new"
    written.write_text(json.dumps(fields))
    written.rename(path)


times = st.one_of(
    st.none(), st.integers(0, 3).map(lambda day: f"2020-01-0{day + 1}T00:00:00+02:00")
)
names = st.sampled_from([None, "", "a", "b", "\u00fc", "eq:a"])
sizes = st.sampled_from([None, 0, 1, 2])
projects = st.sampled_from([None, "p", "q"])
records = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["active", "queued", "killed", "deleted", "deactivated"]),
        "name": names,
        "disk_format": st.sampled_from([None, "raw", "iso"]),
        "container_format": st.sampled_from([None, "bare"]),
        "size": sizes,
        "created_at": times,
        "updated_at": times,
        "is_public": st.booleans(),
        "protected": st.booleans(),
        "deleted": st.sampled_from([False, False, True]),
        "min_ram": st.integers(0, 2),
        "min_disk": st.integers(0, 2),
        "owner": projects,
        "members": st.lists(st.sampled_from(["p", "q", "r"]), max_size=2),
        "properties": st.dictionaries(
            st.sampled_from(["k", "l"]), st.sampled_from(["a", None, 1, True, 1.5, ["a"]])
        ),
    }
)
image_ids = st.sampled_from(["i", "j", "a b", ".", "%", "\u00fc", "a%20b", *map(str, range(6))])
sort_keys = st.sampled_from(SORT_KEYS)


def some(values: Any) -> Any:
    return st.one_of(st.none(), values)


queries = st.builds(
    ListQuery,
    all_projects=st.booleans(),
    project_id=projects,
    shared_with=some(st.sampled_from(["p", "q"])),
    is_public=some(st.booleans()),
    shows_deleted=st.booleans(),
    texts=st.dictionaries(
        st.sampled_from(["name", "status", "disk_format"]),
        st.frozensets(st.sampled_from(["a", "", "active", "queued", "raw"]), min_size=1),
        max_size=1,
    ),
    numbers=st.dictionaries(
        st.sampled_from(["min_ram", "min_disk"]), st.integers(0, 2), max_size=1
    ),
    size_min=some(st.integers(0, 2)),
    size_max=some(st.integers(0, 2)),
    protected=some(st.booleans()),
    properties=st.dictionaries(
        st.sampled_from(["k", "l"]), st.sampled_from(["a", "1", "True", "1.5", '["a"]']), max_size=1
    ),
    changed_after=some(st.just(datetime(2020, 1, 1, 12))),
    sort_key=sort_keys,
    descending=st.booleans(),
)


def listed_by_contract(lister: FileRegistry, query: ListQuery) -> list[Image]:
    """The list as the contract describes it, of all records."""
    images = [lister.get(image_id, ANONYMOUS) for image_id in lister.image_ids()]
    found = sorted(filter(query.matching(), images), key=query.position, reverse=query.descending)
    return [image for image in found if query.is_after(query.position(image))]


class TestOrderAndFilters:
    @given(st.dictionaries(image_ids, records, min_size=3), st.lists(queries), st.data())
    @settings(deadline=None, max_examples=60)
    def test_list_is_that_of_all_records(
        self, fields: dict[str, Any], asked: list[ListQuery], data: st.DataObject
    ) -> None:
        with folder_of_records() as (folder, lister):
            for image_id, record in fields.items():
                write(folder, image_id, record, in_place=False)
            for query in asked:
                assert list(lister.list(query, ANONYMOUS)) == listed_by_contract(lister, query)
                whole = ListQuery(
                    all_projects=True,
                    shows_deleted=True,
                    sort_key=query.sort_key,
                    descending=query.descending,
                )
                last = data.draw(st.sampled_from(listed_by_contract(lister, whole)))
                page = replace(query, after=last)
                assert list(lister.list(page, ANONYMOUS)) == listed_by_contract(lister, page)

    @given(
        st.lists(records, min_size=1, max_size=6),
        sort_keys,
        st.booleans(),
        st.data(),
    )
    @settings(deadline=None, max_examples=60)
    def test_pages_have_each_image_that_stays_once(
        self, stays: list[Any], sort_key: str, descending: bool, data: st.DataObject
    ) -> None:
        with folder_of_records() as (folder, lister):
            for number, record in enumerate(stays):
                write(folder, f"stays{number}", record, in_place=False)
            walked: list[Image] = []
            query = replace(ALL, sort_key=sort_key, descending=descending)
            # The other images may come again and again, as they move.
            for _ in range(40):
                for name, record in data.draw(
                    st.dictionaries(st.sampled_from(["x", "y", "z"]), some(records))
                ).items():
                    if record is not None:
                        write(folder, name, record, in_place=data.draw(st.booleans()))
                    else:
                        (folder / f"{name}.json").unlink(missing_ok=True)
                with closing(lister.list(query, ANONYMOUS)) as images:
                    page = list(islice(images, data.draw(st.integers(1, 3))))
                walked += page
                if not page:
                    break
                query = replace(query, after=page[-1])
            positions = [query.position(image) for image in walked]
            assert positions == sorted(set(positions), reverse=descending)
            stayed = [image.id for image in walked if image.id.startswith("stays")]
            assert sorted(stayed) == [f"stays{number}" for number in range(len(stays))]

    @pytest.mark.parametrize("count", [1, 300])
    def test_orders_are_kept_up_to_date(
        self, deployment: Deployment, lister: FileRegistry, count: int
    ) -> None:
        """Few changes are inserted into the orders; after many, they are sorted again."""
        for number in range(20):
            deployment.record(f"old{number}", name=f"{number % 3}", size=number % 4)
        for key in SORT_KEYS:
            listed_ids(lister, replace(ALL, sort_key=key))
        for number in range(count):
            deployment.record(f"new{number}", name=f"{number % 4}", size=number % 3)
            deployment.record_path(f"old{number % 20}").unlink(missing_ok=True)
        for key in SORT_KEYS:
            query = replace(ALL, sort_key=key)
            assert list(lister.list(query, ANONYMOUS)) == listed_by_contract(lister, query)

    def test_many_properties_and_members(
        self, deployment: Deployment, lister: FileRegistry
    ) -> None:
        """Too many for the index are compared with the record alone."""
        many = [str(number) for number in range(300)]
        deployment.record("i", is_public=False, members=many, properties=dict.fromkeys(many, "v"))
        assert listed_ids(lister, ListQuery(project_id="7", properties={"7": "v"})) == ["i"]
        assert listed_ids(lister, ListQuery(project_id="no")) == []
        assert listed_ids(lister, ListQuery(project_id="7", properties={"7": "w"})) == []


class TestChanges:
    def test_records_come_and_go(self, deployment: Deployment, lister: FileRegistry) -> None:
        deployment.record("a", name="1")
        assert listed_ids(lister) == ["a"]
        deployment.record("b", name="2")
        assert listed_ids(lister) == ["b", "a"]
        deployment.record_path("a").unlink()
        assert listed_ids(lister) == ["b"]

    @pytest.mark.parametrize("in_place", [False, True])
    def test_changed_record_is_found_by_the_next_list(
        self, deployment: Deployment, lister: FileRegistry, settled: None, in_place: bool
    ) -> None:
        for name in ("1", "22", "333"):
            fields = {"status": "active", "is_public": True, "name": name}
            write(deployment.registry, "a", fields, in_place=in_place)
            assert listed_ids(lister, ListQuery(texts={"name": frozenset((name,))})) == ["a"]

    def test_record_rewritten_within_a_clock_tick_is_found(
        self, deployment: Deployment, lister: FileRegistry
    ) -> None:
        for name in "abcdefgh":
            deployment.record("i", name=name)
            assert listed_ids(lister, ListQuery(texts={"name": frozenset((name,))})) == ["i"]

    def test_each_record_is_read_once(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for number in range(10):
            deployment.record(str(number))
        read = []
        real = record_file.read_record

        def counted(folder: str, path: str, image_id: str) -> Any:
            read.append(image_id)
            return real(folder, path, image_id)

        monkeypatch.setattr(indexed_files, "read_record", counted)
        for key in SORT_KEYS:
            listed_ids(lister, replace(ALL, sort_key=key))
        assert len(read) == 10
        deployment.record("new")
        listed_ids(lister)
        assert read[10:] == ["new"]

    def test_unchanged_folder_is_not_read_again(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        deployment.record("a")
        assert listed_ids(lister) == ["a"]
        monkeypatch.setattr(os, "scandir", lambda path: pytest.fail("it is read again"))
        assert listed_ids(lister) == ["a"]

    def test_files_have_their_turn(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """If not all files can be examined at each list, a few lists find an edited one."""
        monkeypatch.setattr(indexed_files, "_LEAST_TURNS", 1)
        for number in range(5):
            deployment.record(str(number), name="old")
        query = ListQuery(texts={"name": frozenset(("new",))})
        assert listed_ids(lister, query) == []
        deployment.record("3", name="new")
        assert [listed_ids(lister, query) for _ in range(6)].count(["3"]) >= 1
        assert listed_ids(lister, query) == ["3"]

    def test_all_files_have_their_turn_after_some_time(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(indexed_files, "_LEAST_TURNS", 0)
        for number in range(5):
            deployment.record(str(number), name="old")
        query = ListQuery(texts={"name": frozenset(("new",))})
        assert listed_ids(lister, query) == []
        for number in range(5):
            deployment.record(str(number), name="new")
        assert listed_ids(lister, query) == []
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 20)
        assert len(listed_ids(lister, query)) == 5

    def test_edited_record_is_listed_at_its_new_place_only(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Otherwise a marker at its new place would skip what is between."""
        monkeypatch.setattr(indexed_files, "_LEAST_TURNS", 0)
        for name in "bcdf":
            deployment.record(name, name=name)
        query = replace(ALL, sort_key="name", descending=False)
        assert listed_ids(lister, query) == ["b", "c", "d", "f"]
        deployment.record("c", name="e")
        assert listed_ids(lister, query) == ["b", "d", "c", "f"]
        deployment.record("f", name="a")
        assert listed_ids(lister, query) == ["b", "d", "c"]
        assert listed_ids(lister, query) == ["f", "b", "d", "c"]

    def test_shows_the_current_record(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Even if the index does not know of the change yet."""
        monkeypatch.setattr(indexed_files, "_LEAST_TURNS", 0)
        deployment.record("a", checksum="0" * 32)
        deployment.record("b", owner="p")
        assert listed_ids(lister, ListQuery()) == ["b", "a"]
        deployment.record("a", checksum="1" * 32)
        deployment.record("b", is_public=False)
        images = list(lister.list(ListQuery(), ANONYMOUS))
        assert [(image.id, image.checksum) for image in images] == [("a", "1" * 32)]

    def test_removed_while_the_list_is_read(
        self, deployment: Deployment, lister: FileRegistry
    ) -> None:
        for name in "abc":
            deployment.record(name)
        with closing(lister.list(ALL, ANONYMOUS)) as images:
            assert next(images).id == "c"
            deployment.record_path("b").unlink()
            assert [image.id for image in images] == ["a"]


class TestLifetime:
    def test_no_list_reads_nothing(self, tmp_path: Path) -> None:
        lister = build(FileRegistry, directory=str(tmp_path / "missing"))
        lister.list(ALL, ANONYMOUS).close()
        lister.close()

    def test_close_frees_the_index(self, deployment: Deployment, lister: FileRegistry) -> None:
        deployment.record("a")
        assert listed_ids(lister) == ["a"]
        index = weakref.ref(lister._index)
        lister.close()
        assert index() is None
        lister.close()

    def test_image_is_found_while_the_index_is_made(
        self, deployment: Deployment, lister: FileRegistry
    ) -> None:
        deployment.record("a")
        with lister._index._lock:
            assert lister.get("a", ANONYMOUS).id == "a"

    def test_after_a_fork(self, deployment: Deployment, lister: FileRegistry) -> None:
        deployment.record("a")
        assert listed_ids(lister) == ["a"]
        # As if another thread made a list when this one forks.
        with lister._index._lock:
            child = os.fork()
            if not child:
                os._exit(0 if listed_ids(lister) == ["a"] else 1)
        assert os.waitpid(child, 0)[1] == 0

    def test_threads_that_wait_share_a_refresh(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in "abc":
            deployment.record(name)
        begun, may_go_on = threading.Event(), threading.Event()
        refreshed = []
        real = indexed_files.IndexedFiles.refresh

        def slow(self: indexed_files.IndexedFiles) -> None:
            refreshed.append(1)
            begun.set()
            assert may_go_on.wait(60)
            real(self)

        monkeypatch.setattr(indexed_files.IndexedFiles, "refresh", slow)
        found: list[list[str]] = []
        threads = [
            threading.Thread(target=lambda: found.append(listed_ids(lister))) for _ in range(6)
        ]
        threads[0].start()
        assert begun.wait(60)
        for thread in threads[1:]:
            thread.start()
        while sum(thread.is_alive() for thread in threads) < 6 or len(refreshed) < 1:
            time.sleep(0.01)
        time.sleep(0.2)
        may_go_on.set()
        for thread in threads:
            thread.join(60)
        assert found == [["c", "b", "a"]] * 6
        # The first refresh may not show what changed when the others had begun to wait.
        assert len(refreshed) == 2

    def test_file_that_is_half_written_at_the_first_look(
        self, deployment: Deployment, lister: FileRegistry
    ) -> None:
        deployment.record("i")
        looks = []

        def get(image_id: str) -> Image:
            looks.append(image_id)
            if len(looks) == 1:
                raise MalformedImage("not JSON")
            return lister.get(image_id, ANONYMOUS)

        images = Index(str(deployment.registry)).list(ALL, get)
        assert [image.id for image in images] == ["i"]
        assert looks == ["i", "i"]

    def test_threads(self, deployment: Deployment, lister: FileRegistry) -> None:
        stays = {f"stays{number:02}" for number in range(50)}
        for name in stays:
            deployment.record(name, name=name[-1])
        ends = time.monotonic() + 1
        found: list[list[str]] = []

        def walk(sort_key: str) -> None:
            query = replace(ALL, sort_key=sort_key)
            while time.monotonic() < ends:
                found.append([])
                found[-1] += listed_ids(lister, query)

        with ThreadPoolExecutor(3) as pool:
            walks = [pool.submit(walk, key) for key in ("name", "id", "size")]
            while time.monotonic() < ends:
                deployment.record("comes", name=str(time.monotonic()))
                deployment.record_path("comes").unlink()
        for one in walks:
            one.result()
        assert all(stays == set(one) - {"comes"} for one in found)
        assert all(len(one) == len(set(one)) for one in found)


def test_times_are_compared_in_utc(deployment: Deployment, lister: FileRegistry) -> None:
    zoned = datetime.fromisoformat("2020-01-01T01:00:00+02:00")
    deployment.record("earlier", created_at=str(zoned))
    deployment.record("later", created_at="2020-01-01 00:30:00")
    assert listed_ids(lister) == ["later", "earlier"]
    after = Image(id="m", status="active", created_at=zoned + timedelta(minutes=1))
    assert listed_ids(lister, replace(ALL, after=after)) == ["earlier"]
