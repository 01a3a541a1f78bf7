# SPDX-License-Identifier: Apache-2.0
"""Lists of the HTTP registry: from a real Glance, and from another imageapi."""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from glanceclient.v1.client import Client

import imageapi
from imageapi import Caller
from imageapi.backends.http.registry import HTTPRegistry
from imageapi.backends.listing import SORT_KEYS, ListQuery
from imageapi.caller import ANONYMOUS
from imageapi.image import Image
from imageapi.testing.fakes import MemoryRegistry
from imageapi.testing.suite import build
from tests.deployment import send
from tests.functional.openstack import Keystone, call, glance
from tests.functional.servers import serving
from tests.functional.test_glance import users_and_tokens
from tests.paths import EXAMPLES

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

# What Alice makes, in this order: a name, a disk format and the size of the data, if any.
MADE: list[tuple[str | None, str | None, int | None]] = [
    ("b", "raw", 7),
    (None, "qcow2", None),
    ("", "raw", 7),
    ("\N{LATIN CAPITAL LETTER U WITH DIAERESIS}buntu 10", None, None),
    (None, None, None),
    ("a", "raw", 12),
    ("", None, None),
    ("B", "iso", None),
    (None, "raw", 3),
    ("fedora:25", "raw", 7),
    ("b", None, None),
]


class ListFront(NamedTuple):
    """An imageapi in front of a Glance.

    :ivar ids: of what Alice made.
    :ivar requests: to Glance.
    """

    api: imageapi.ImageAPI
    config: Path
    glance: str
    tokens: dict[str, str]
    projects: dict[str, str]
    ids: list[str]
    requests: list[str]

    def page(self, user: str | None, query: str = "", path: str = "images/detail") -> Any:
        self.requests.clear()
        headers = {} if user is None else {"X_Auth_Token": self.tokens.get(user, user)}
        answer = send(self.api, f"/v1/{path}?{query}", "GET", headers)
        assert answer.status_code == 200, answer.text
        return answer.json["images"]

    def walk(self, user: str, query: str, limit: int) -> list[str]:
        """The ids of all pages.  No page takes more requests to Glance than two for the list."""
        ids: list[str] = []
        marker = ""
        while page := self.page(user, f"{query}&limit={limit}{marker}"):
            ids += [image["id"] for image in page]
            marker = f"&marker={ids[-1]}"
            assert len(ids) <= 100
        return ids

    def make(self, user: str, data: bytes | None = None, **fields: Any) -> str:
        token = self.tokens[user]
        fields = {"container_format": "bare", "visibility": "private", **fields}
        image = call(f"{self.glance}/v2/images", token, fields)
        if data is not None:
            call(self.glance + image["file"], token, data, method="PUT")
        return str(image["id"])


def counting(registry: Any) -> list[str]:
    """The targets of the requests that a registry sends from now on."""
    requests: list[str] = []
    request = registry._upstream.request

    def counted(method: str, url: Any, *others: Any) -> Any:
        requests.append(str(url))
        return request(method, url, *others)

    registry._upstream.request = counted
    return requests


@pytest.fixture(scope="module")
def list_front(identity: Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListFront]:
    with glance(tmp_path_factory.mktemp("glance"), identity) as url:
        tokens, projects = users_and_tokens(identity)
        config = tmp_path_factory.mktemp("front") / "glance-v2.conf"
        example = (EXAMPLES / "glance-v2.conf").read_text()
        config.write_text(example.replace("http://glance.example.com:9292", url))
        api = imageapi.ImageAPI(imageapi.load_config([str(config)]))
        requests = counting(api.backends.registry.backend)
        front = ListFront(api, config, url, tokens, projects, [], requests)
        for name, disk_format, size in MADE:
            fields = {"name": name, "disk_format": disk_format, "distro": f"x{size}"}
            data = None if size is None else bytes(size)
            front.ids.append(front.make("alice", data, **fields))
        yield front
        api.close()


def place_of_records(front: ListFront, key: str) -> Any:
    """Where an id stands in a list by a sort key; all were made within few seconds."""

    def of(image_id: str) -> tuple[Any, ...]:
        index = front.ids.index(image_id)
        name, disk_format, size = MADE[index]
        value = {
            "name": name,
            "disk_format": disk_format,
            "size": size,
            "status": "queued" if size is None else "active",
            "id": image_id,
        }.get(key, "")
        return (value is not None, value if value is not None else "", index)

    return of


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("key", [key for key in SORT_KEYS if key != "updated_at"])
def test_order_and_pages(list_front: ListFront, key: str, direction: str) -> None:
    expected = sorted(
        list_front.ids, key=place_of_records(list_front, key), reverse=direction == "desc"
    )
    for limit in (1, 4, 11):
        query = f"sort_key={key}&sort_dir={direction}"
        assert list_front.walk("alice", query, limit) == expected, limit


def test_order_of_changes(list_front: ListFront) -> None:
    times = [image["updated_at"] for image in list_front.page("alice", "sort_key=updated_at")]
    assert times == sorted(times, reverse=True)
    assert sorted(list_front.walk("alice", "sort_key=updated_at", 3)) == sorted(list_front.ids)


@pytest.mark.parametrize("key", SORT_KEYS)
def test_two_requests_a_page(list_front: ListFront, key: str) -> None:
    """The marker of a page is looked up by a third one, as for any registry."""
    query = f"sort_key={key}&sort_dir=asc&limit=3"
    has_value = "size_min=0" if key in ("size", "disk_format") else "name=in:a,b,B,fedora"
    marker = ""
    while page := list_front.page("alice", f"{query}&{has_value}{marker}"):
        lists = [one for one in list_front.requests if "?" in one]
        assert 1 <= len(lists) <= 2, lists
        assert len(list_front.requests) - len(lists) == bool(marker)
        marker = f"&marker={page[-1]['id']}"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=b", [10, 0]),
        ("name=", [6, 2]),
        ("name=in:a,B", [7, 5]),
        ("name=eq:fedora:25", [9]),
        ("name=fedora:25", [9]),
        ("name=%C3%9Cbuntu%2010", [3]),
        ("status=queued", [10, 7, 6, 4, 3, 1]),
        ("disk_format=in:iso,qcow2", [7, 1]),
        ("size_min=7&size_max=11", [9, 2, 0]),
        ("size_max=3", [8]),
        ("property-distro=x12", [5]),
        ("property-distro=x", []),
        ("property-metadata=x", []),
        ("protected=true", []),
        ("min_ram=1", []),
        ("min_disk=0&name=a", [5]),
        ("container_format=ovf", []),
        ("is_public=None", [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
    ],
)
def test_filters(list_front: ListFront, query: str, expected: list[int]) -> None:
    found = [list_front.ids.index(image["id"]) for image in list_front.page("alice", query)]
    assert found == expected


def test_changes_since(list_front: ListFront) -> None:
    latest = max(image["updated_at"] for image in list_front.page("alice"))
    past = datetime.fromisoformat(latest) - timedelta(hours=1)
    future = datetime.fromisoformat(latest) + timedelta(hours=1)
    assert len(list_front.page("alice", f"changes-since={past.isoformat()}")) == len(MADE)
    assert list_front.page("alice", f"changes-since={future.isoformat()}") == []


def test_the_list_is_what_a_caller_may_head(list_front: ListFront) -> None:
    """Pending members see an image; a community image is listed for its project only."""
    public = list_front.make("root", visibility="public", name="everybody's")
    shared = list_front.make("carol", visibility="shared", name="for bob")
    community = list_front.make("carol", visibility="community", name="community")
    members = f"{list_front.glance}/v2/images/{shared}/members"
    call(members, list_front.tokens["carol"], {"member": list_front.projects["bob"]})
    try:
        for user, seen in {
            "alice": {public, *list_front.ids},
            "bob": {public, shared},
            "carol": {public, shared, community},
            "root": {public, shared, *list_front.ids},
            None: set(),
            "a-token-of-nobody": set(),
        }.items():
            assert {image["id"] for image in list_front.page(user)} == seen, user
    finally:
        for owner, image_id in (("root", public), ("carol", shared), ("carol", community)):
            call(
                f"{list_front.glance}/v2/images/{image_id}",
                list_front.tokens[owner],
                method="DELETE",
            )
    assert list_front.page("bob") == []


def test_shared_images_and_an_admins_list(list_front: ListFront) -> None:
    """The application, such as keystonemiddleware, says who the caller is."""
    shared = list_front.make("carol", visibility="shared")
    members = f"{list_front.glance}/v2/images/{shared}/members"
    call(members, list_front.tokens["carol"], {"member": list_front.projects["bob"]})

    def ask(path: str, user: str, **fields: Any) -> Any:
        project, token = list_front.projects[user], list_front.tokens[user]
        caller = Caller(user_id=user, project_id=project, token=token, **fields)
        return send(list_front.api, path, "GET", {}, caller).json

    try:
        path = f"/v1/shared-images/{list_front.projects['bob']}"
        assert [one["image_id"] for one in ask(path, "bob")["shared_images"]] == [shared]
        assert ask(path, "root", is_admin=True) == {"shared_images": []}
        assert ask("/v1/images", "root", is_admin=True) == {"images": []}
        everything = ask("/v1/images?is_public=None", "root", is_admin=True)["images"]
        assert {one["id"] for one in everything} == {shared, *list_front.ids}
    finally:
        call(f"{list_front.glance}/v2/images/{shared}", list_front.tokens["carol"], method="DELETE")


def test_brief_list(list_front: ListFront) -> None:
    brief = list_front.page("alice", path="images")
    detailed = list_front.page("alice")
    assert brief == [{name: one[name] for name in brief[0]} for one in detailed]


def test_glanceclient_v1(list_front: ListFront) -> None:
    with serving(list_front.config) as port:
        client = Client(f"http://127.0.0.1:{port}", token=list_front.tokens["alice"])
        found = client.images.list(sort_key="name", sort_dir="asc", page_size=4)
        expected = sorted(list_front.ids, key=place_of_records(list_front, "name"))
        assert [image.id for image in found] == expected


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base has it
        pass


@contextlib.contextmanager
def other_imageapi(images: list[Image], folder: Path) -> Iterator[str]:
    """Another imageapi over a real socket; yields the URL of its images."""
    config = folder / "other.conf"
    config.write_text("[imageapi]\nregistry = memory\nstores = memory\npolicy = visible\n")
    api = imageapi.ImageAPI(imageapi.load_config([str(config)]))
    registry = api.backends.registry.backend
    assert isinstance(registry, MemoryRegistry)
    for image in images:
        registry.put(image)
    with make_server("127.0.0.1", 0, api, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/images"
        finally:
            server.shutdown()
            thread.join()
    api.close()


def images_of_another() -> list[Image]:
    begin = datetime(2026, 11, 20, 8)
    return [
        Image(
            id=f"i {n}",
            status="active",
            name=name,
            disk_format=disk_format,
            size=size,
            is_public=True,
            created_at=begin + timedelta(microseconds=n // 2),
            updated_at=begin - timedelta(seconds=n),
            properties={"distro": f"x{size}"},
        )
        for n, (name, disk_format, size) in enumerate(MADE)
    ]


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_order_and_pages_of_another_imageapi(tmp_path: Path, direction: str) -> None:
    images = images_of_another()
    hidden = Image(id="h", status="active")
    with other_imageapi([*images, hidden], tmp_path) as endpoint:
        registry = build(HTTPRegistry, endpoint=endpoint, suffix="?format=json")
        requests = counting(registry)
        for key, limit in itertools.product(SORT_KEYS, (1, 4, 11, 100)):
            query = ListQuery(sort_key=key, descending=direction == "desc", limit=limit)
            expected = sorted(images, key=query.position, reverse=query.descending)
            found: list[Image] = []
            while True:
                after = registry.get(found[-1].id, ANONYMOUS) if found else None
                query = ListQuery(
                    sort_key=key, descending=query.descending, limit=limit, after=after
                )
                with contextlib.closing(registry.list(query, ANONYMOUS)) as listed:
                    page = list(itertools.islice(listed, limit))
                if not page:
                    break
                found += page
            assert [one.id for one in found] == [one.id for one in expected], (key, limit)
        requests.clear()
        query = ListQuery(size_min=7, properties={"distro": "x7"}, limit=2)
        assert [one.id for one in registry.list(query, ANONYMOUS)] == ["i 9", "i 2", "i 0"]
        assert "size_min=7&property-distro=x7" in requests[0]
        registry.close()


def test_an_imageapi_that_cannot_list(tmp_path: Path) -> None:
    """Its lists are 404, and so is a wrong endpoint: this is an error, not an empty list."""
    with other_imageapi([], tmp_path) as endpoint:
        wrong = endpoint.replace("/v1/images", "/other/v1/images")
        registry = build(HTTPRegistry, endpoint=wrong, suffix="?format=json")
        with pytest.raises(imageapi.errors.BadReply, match="404"):
            list(registry.list(ListQuery(), ANONYMOUS))
        registry.close()
