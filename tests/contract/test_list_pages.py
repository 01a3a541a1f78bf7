# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Lists: the order, the pages, and who sees what."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import webob

from imageapi import Caller, ImageAPIMiddleware, asgi, load_config
from imageapi.backends.listing import SORT_KEYS
from imageapi.errors import BackendError, BackendUnavailable, BadReply
from imageapi.testing.fakes import MemoryRegistry
from tests.asgi import ask_asgi
from tests.contract.test_lists import LISTS, at, ids_listed, listed_images, put_image, refused_list
from tests.memory import ADMIN, MEMBER, OTHER, Memory

NOBODY = Caller()
ADMIN_WITHOUT_PROJECT = Caller(is_admin=True)


@pytest.fixture
def mixed(memory: Memory) -> Memory:
    """Images with ties, with missing values, and with the lowest values that are not missing."""
    values = [("b", 2), ("a", 0), (None, None), ("", 0), ("b", None), (None, 5), ("\u00fc", 2)]
    for number, (name, size) in enumerate(values * 2):
        created = None if number == 4 else at(number // 3)
        put_image(memory, chr(ord("A") + number), name=name, size=size, created_at=created)
    return memory


# Order and pages.


@pytest.mark.wire("lists-limit")
@pytest.mark.parametrize(
    ("options", "query", "length"),
    [
        ({}, "", 25),
        ({}, "limit=30", 30),
        ({}, "limit=2000", 40),
        ({}, "limit=0", 0),
        ({"limit_param_default": 3}, "", 3),
        ({"limit_param_default": 3, "api_limit_max": 5}, "limit=7", 5),
        ({"limit_param_default": 7, "api_limit_max": 5}, "", 5),
    ],
)
def test_limit(tmp_path: Path, options: dict[str, Any], query: str, length: int) -> None:
    memory = Memory(tmp_path, **options)
    for number in range(40):
        put_image(memory, f"{number:02}")
    assert len(listed_images(memory, f"/v1/images?{query}")) == length
    assert len(listed_images(memory, f"/v1/images/detail?{query}")) == length
    memory.api.close()


@pytest.mark.wire("lists-limit")
def test_largest_limit(memory: Memory) -> None:
    for number in range(1_001):
        put_image(memory, f"{number:04}")
    assert len(listed_images(memory, "/v1/images?limit=1001")) == 1_000


@pytest.mark.wire("lists-marker")
def test_marker(memory: Memory) -> None:
    for number in (1, 2, 3, 4):
        put_image(memory, str(number), number, name="even" if number % 2 == 0 else "odd")
    assert ids_listed(memory, "marker=3") == "21"
    assert ids_listed(memory, "marker=3&limit=1") == "2"
    assert ids_listed(memory, "marker=3&name=even") == "2"
    assert ids_listed(memory, "marker=2&sort_dir=asc") == "34"


@pytest.mark.wire("lists-marker")
def test_marker_is_an_image_that_the_caller_may_head(memory: Memory) -> None:
    for number in (1, 3, 5):
        put_image(memory, str(number), number)
    hidden: dict[str, dict[str, Any]] = {
        "private": {"is_public": False, "owner": "p1"},
        "ownerless": {"is_public": False},
        "deleted": {"deleted": True, "status": "deleted"},
    }
    for image_id, fields in hidden.items():
        put_image(memory, image_id, 4, **fields)
        absent = refused_list(memory, "marker=absent")
        assert refused_list(memory, f"marker={image_id}").replace(image_id, "absent") == absent
        assert refused_list(memory, f"marker={image_id}&changes-since=2009", OTHER)
        assert ids_listed(memory, f"marker={image_id}", ADMIN) == "31"
    assert ids_listed(memory, "marker=private", MEMBER) == "31"


@pytest.mark.wire("lists-marker")
def test_marker_that_get_image_refuses(tmp_path: Path) -> None:
    memory = Memory(tmp_path, '"get_image": "not \'no\':%(name)s"\n')
    put_image(memory, "1", 1)
    put_image(memory, "2", 2, name="no")
    assert "marker must be" in refused_list(memory, "marker=2")
    memory.api.close()


@pytest.mark.wire("lists-end")
def test_end(memory: Memory) -> None:
    put_image(memory, "1")
    assert memory.get("/v1/images?marker=1").json == {"images": []}
    assert memory.get("/v1/images?limit=1").json.keys() == {"images"}


@pytest.mark.wire("lists-order")
@pytest.mark.parametrize("key", SORT_KEYS)
def test_order(memory: Memory, key: str) -> None:
    """Images with equal values follow one another by created_at, then by id."""
    low, high = {"size": (1, 2), "created_at": (at(1), at(2)), "updated_at": (at(1), at(2))}.get(
        key, ("active", "queued")
    )
    put_image(memory, "d", 0, **{key: high} if key != "id" else {})
    put_image(memory, "c", 5, **{key: low} if key != "id" else {})
    put_image(memory, "a", 5, **{key: low} if key != "id" else {})
    put_image(memory, "b", 3, **{key: low} if key != "id" else {})
    expected = {"id": "abcd", "created_at": "abcd"}.get(key, "bacd")
    assert ids_listed(memory, f"sort_key={key}&sort_dir=asc") == expected
    assert ids_listed(memory, f"sort_key={key}") == expected[::-1]
    assert ids_listed(memory, f"sort_key={key}&sort_dir=desc") == expected[::-1]


@pytest.mark.wire("lists-order")
def test_texts_are_ordered_by_code_point(memory: Memory) -> None:
    names = ["50%", "Ubuntu", "fedora", "gr\u00f6\u00dfe", "\u00dcbuntu", "\uff5a", "\U0001f600"]
    for number, name in enumerate(names):
        put_image(memory, str(number), name=name)
    assert ids_listed(memory, "sort_key=name&sort_dir=asc") == "0123456"


@pytest.mark.wire("lists-missing-values")
def test_missing_values(memory: Memory) -> None:
    put_image(memory, "1", name="", size=0)
    put_image(memory, "2", name=None, size=None)
    put_image(memory, "3", name="a", size=1)
    for key in ("name", "size"):
        assert ids_listed(memory, f"sort_key={key}&sort_dir=asc") == "213"
        assert ids_listed(memory, f"sort_key={key}&sort_dir=asc&marker=2") == "13"
        assert ids_listed(memory, f"sort_key={key}&marker=1") == "2"


def walked_pages(memory: Memory, query: str) -> Iterator[list[str]]:
    """The ids of each page, up to the empty one."""
    marker = ""
    while page := list(listed_images(memory, f"/v1/images?{query}{marker}")):
        yield page
        marker = f"&marker={page[-1]}"


@pytest.mark.wire("lists-walk")
@pytest.mark.wire("lists-missing-values")
@pytest.mark.parametrize("key", SORT_KEYS)
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_walk(mixed: Memory, key: str, direction: str) -> None:
    query = f"sort_key={key}&sort_dir={direction}"
    whole = ids_listed(mixed, query)
    assert sorted(whole) == list("ABCDEFGHIJKLMN")
    for limit in (1, 3):
        pages = walked_pages(mixed, f"{query}&limit={limit}")
        assert "".join(itertools.chain(*pages)) == whole


@pytest.mark.wire("lists-walk")
@pytest.mark.parametrize("key", ["name", "size", "created_at"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_walk_while_images_are_added_and_removed(mixed: Memory, key: str, direction: str) -> None:
    seen = []
    added: list[str] = []
    for page in walked_pages(mixed, f"sort_key={key}&sort_dir={direction}&limit=2"):
        seen += page
        for one in {*added} - {page[-1]}:
            mixed.registry.remove(one)
        added = [one for one in added if one == page[-1]]
        # They get places before and after the page, but no more than the list has places.
        for name in ("", None, "c") if len(seen) < 20 else ():
            added.append(f"{len(seen)}-{name}")
            put_image(mixed, added[-1], len(seen), name=name, size=len(seen) % 3)
    assert sorted(one for one in seen if len(one) == 1) == list("ABCDEFGHIJKLMN")


@pytest.mark.wire("lists-walk")
def test_marker_that_was_removed(mixed: Memory) -> None:
    mixed.registry.remove("C")
    assert "marker must be" in refused_list(mixed, "marker=C")


# Who sees what.


@pytest.fixture
def owned(memory: Memory) -> Memory:
    """Images of several owners, in several statuses; the first letter says for whom."""
    put_image(memory, "P", 1)
    put_image(memory, "o", 2, is_public=False, owner="p1")
    put_image(memory, "s", 3, is_public=False, owner="p2", members=frozenset({"p1"}))
    put_image(memory, "n", 4, is_public=False)
    put_image(memory, "m", 5, is_public=False, members=frozenset({"p9"}))
    put_image(memory, "a", 6, is_public=False, owner="p0")
    put_image(memory, "Q", 7, status="queued")
    put_image(memory, "S", 8, status="saving")
    put_image(memory, "D", 9, status="deactivated")
    put_image(memory, "k", 10, status="killed", owner="p1")
    put_image(memory, "x", 11, status="deleted", deleted=True, owner="p1")
    put_image(memory, "y", 12, status="pending_delete", owner="p1")
    put_image(memory, "z", 13, status="active", deleted=True)
    return memory


@pytest.mark.wire("lists-visible")
@pytest.mark.wire("lists-admin")
@pytest.mark.wire("lists-is-public")
@pytest.mark.wire("lists-deleted")
@pytest.mark.wire("lists-anonymous")
@pytest.mark.parametrize(
    ("caller", "query", "ids"),
    [
        (NOBODY, "", "DSQP"),
        (NOBODY, "is_public=none", "DSQP"),
        (NOBODY, "is_public=False", "DSQP"),
        (NOBODY, "changes-since=2009", "DSQP"),
        (Caller(user_id="u"), "", "DSQP"),
        (MEMBER, "", "DSQsoP"),
        (MEMBER, "is_public=none", "DSQsoP"),
        (MEMBER, "is_public=false", "DSQsoP"),
        (MEMBER, "changes-since=2009", "DSQsoP"),
        (OTHER, "", "DSQsP"),
        (ADMIN, "", "DSQaP"),
        (ADMIN, "is_public=none", "DSQamnsoP"),
        (ADMIN, "is_public=TRUE", "DSQP"),
        (ADMIN, "is_public=0", "amnso"),
        (ADMIN, "changes-since=2009", "zyxkDSQaP"),
        (ADMIN, "changes-since=2009&is_public=None", "zyxkDSQamnsoP"),
        (ADMIN_WITHOUT_PROJECT, "", "DSQP"),
        (ADMIN_WITHOUT_PROJECT, "is_public=None", "DSQamnsoP"),
    ],
)
def test_who_sees_what(owned: Memory, caller: Caller, query: str, ids: str) -> None:
    seen = ids_listed(owned, query, caller)
    assert seen == ids
    assert "".join(listed_images(owned, f"/v1/images/detail?{query}", caller=caller)) == ids
    for image_id in seen:
        assert owned.head(f"/v1/images/{image_id}", caller=caller).status_code == 200


@pytest.mark.wire("lists-visible")
def test_core_decides_what_the_registry_does_not(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry that yields too much shows nothing that is hidden."""
    shown = put_image(memory, "1")
    rest = [
        put_image(memory, "2", is_public=False, owner="p2"),
        put_image(memory, "3", deleted=True),
    ]
    monkeypatch.setattr(memory.registry, "list", lambda query, caller: (i for i in [*rest, shown]))
    assert ids_listed(memory, "limit=1", MEMBER) == "1"
    monkeypatch.setattr(memory.registry, "decides_visibility", True, raising=False)
    assert ids_listed(memory, "", MEMBER) == "21"


@pytest.mark.wire("lists-community")
@pytest.mark.wire("lists-private-member")
def test_words_of_v2_make_no_difference(memory: Memory) -> None:
    """A registry makes community images private, and keeps the members of private ones."""
    put_image(memory, "c", 2, is_public=False, owner="p2")
    put_image(memory, "p", 1, is_public=False, owner="p2", members=frozenset({"p1"}))
    assert ids_listed(memory, "", OTHER) == "cp"
    assert ids_listed(memory, "", MEMBER) == "p"
    assert ids_listed(memory, "is_public=none", ADMIN) == "cp"
    assert ids_listed(memory, "is_public=false", ADMIN) == "cp"


@pytest.mark.wire("lists-policy")
@pytest.mark.wire("shared-policy")
@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("caller", [NOBODY, MEMBER, ADMIN])
def test_get_images_refuses(tmp_path: Path, path: str, caller: Caller) -> None:
    memory = Memory(tmp_path, '"get_images": "!"\n')
    put_image(memory, "1", members=frozenset({"p1"}))
    for query in ("", "?limit=x"):
        assert memory.get(path + query, caller=caller).status_code == 403
        assert memory.head(path + query, caller=caller).status_code == 403
    assert memory.get("/v1/images/1", caller=caller).status_code == 404
    memory.api.close()


@pytest.mark.wire("lists-policy")
@pytest.mark.wire("shared-policy")
def test_get_image_leaves_images_out(tmp_path: Path) -> None:
    memory = Memory(tmp_path, '"get_image": "\'yes\':%(name)s"\n')
    for number in range(1, 10):
        name = "yes" if number % 3 == 0 else "no"
        put_image(memory, str(number), number, name=name, members=frozenset({"p1"}))
    assert ids_listed(memory, "limit=2") == "96"
    assert ids_listed(memory, "limit=2&marker=6") == "3"
    shared = memory.get("/v1/shared-images/p1", caller=MEMBER).json["shared_images"]
    assert [image["image_id"] for image in shared] == ["3", "6", "9"]
    memory.api.close()


# A registry that cannot list, or fails.


@pytest.fixture
def config_of_pages(tmp_path: Path) -> Path:
    path = tmp_path / "filter.conf"
    path.write_text("[imageapi]\nregistry = memory\nstores = memory\npolicy = visible\n")
    return path


@pytest.fixture
def wrapped_lists(config_of_pages: Path) -> Iterator[ImageAPIMiddleware]:
    def host(environ: Any, start_response: Any) -> list[bytes]:
        start_response("299 Host", [])
        return []

    middleware = ImageAPIMiddleware(host, load_config([str(config_of_pages)]))
    yield middleware
    middleware.close()


@pytest.fixture
def wrapped_asgi(config_of_pages: Path) -> Iterator[asgi.Middleware]:
    async def host(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    middleware = asgi.Middleware(host, load_config([str(config_of_pages)]))
    yield middleware
    middleware.close()


@pytest.mark.wire("routes-filter")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/images", 200),
        ("/v1.0/images/detail", 200),
        ("/v1.1/shared-images/p", 200),
        ("/v1/images/absent/members", 404),
        ("/v1/images?limit=x", 400),
        ("/v1", 200),
        ("/v1/", 200),
        ("/", 299),
        ("/versions", 299),
        ("/v1/images/", 299),
        ("/v1//images", 299),
        ("/images", 299),
        ("/v1/images/detail/members", 299),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_middlewares_answer(
    wrapped_lists: ImageAPIMiddleware,
    wrapped_asgi: asgi.Middleware,
    path: str,
    method: str,
    status: int,
) -> None:
    assert webob.Request.blank(path, method=method).send(wrapped_lists).status_code == status
    plain, _, query = path.partition("?")
    given = {"method": method, "query_string": query.encode()}
    assert ask_asgi(wrapped_asgi, plain, **given).status == status


@pytest.mark.wire("lists-cannot")
@pytest.mark.wire("routes-filter")
def test_registry_that_cannot_list(
    memory: Memory,
    wrapped_lists: ImageAPIMiddleware,
    wrapped_asgi: asgi.Middleware,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MemoryRegistry, "can_list", False)
    put_image(memory, "i")
    for path in LISTS:
        for method in ("GET", "HEAD", "POST"):
            assert memory.request(path, method).status_code == 404
            assert webob.Request.blank(path, method=method).send(wrapped_lists).status_code == 299
            assert ask_asgi(wrapped_asgi, path, method=method).status == 299
    for path in ("/v1/images/i/members", "/v1", "/versions"):
        assert memory.get(path).status_code == 200
    assert webob.Request.blank("/v1").send(wrapped_lists).status_code == 200


@pytest.mark.wire("lists-unavailable")
@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (BackendUnavailable("secret"), 503, "30"),
        (BackendUnavailable("secret", retry_after=7), 503, "7"),
        (BadReply("secret"), 502, None),
        (BackendError("secret"), 500, None),
        (ValueError("secret"), 500, None),
    ],
)
@pytest.mark.parametrize("first", [0, 1])
def test_registry_fails(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    error: Exception,
    status: int,
    retry_after: str | None,
    first: int,
) -> None:
    """Also after it has yielded an image."""
    images = [put_image(memory, "i", members=frozenset({"p1"}))] * first

    def fail(*_: object) -> Any:
        yield from images
        raise error

    monkeypatch.setattr(memory.registry, "list", fail)
    response = memory.get(path, caller=MEMBER)
    assert response.status_code == status
    assert response.headers.get("Retry-After") == retry_after
    assert "secret" not in response.text


@pytest.mark.wire("lists-unavailable")
def test_registry_yields_no_image(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.registry, "list", lambda query, caller: (one for one in ["x"]))
    assert memory.get("/v1/images").status_code == 500


# The door for ASGI.


@pytest.mark.wire("lists-head")
@pytest.mark.parametrize(
    "path", [*LISTS, "/v1/images/i/members", "/v1", "/", "/versions", "/glance/v1/images"]
)
def test_asgi_answers_as_wsgi(memory: Memory, config_of_pages: Path, path: str) -> None:
    application = asgi.Application(load_config([str(config_of_pages)]))
    registry = application.api.backends.registry.backend
    assert isinstance(registry, MemoryRegistry)
    registry.put(put_image(memory, "i", name="\u00fc"))
    registry.put(put_image(memory, "j", 1))
    queries = ("", "name=%C3%BC", "name=\u00fc", "limit=x", "format=json", "x=%FF")
    for method, query in itertools.product(("GET", "HEAD", "POST"), queries):
        data = query.encode()
        over_asgi = ask_asgi(application, path, method=method, query_string=data)
        request = webob.Request.blank(path, method=method, headers={"Host": "h"})
        request.environ["QUERY_STRING"] = data.decode("latin-1")
        over_wsgi = request.send(memory.api)
        assert over_asgi.status == over_wsgi.status_int
        assert over_asgi.body == over_wsgi.body
        expected = [(name.lower(), value) for name, value in over_wsgi.headerlist]
        assert list(over_asgi.headers) == expected
    application.close()
