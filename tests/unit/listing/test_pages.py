# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from webob import Request, exc

from imageapi.backends.listing import ListQuery
from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import BackendError, BackendUnavailable
from imageapi.image import Image
from imageapi.listing.pages import Pages
from imageapi.listing.parameters import Limits
from tests.memory import ADMIN, MEMBER, OTHER, Memory


class Listed:
    """The pages of a registry whose list() is replaced."""

    def __init__(self, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = memory.api.backends.registry
        self.pages = Pages(memory.api._auth, registry, Limits(default=3, largest=5))
        self.memory = memory
        self.queries: list[ListQuery] = []
        self.taken: list[str] = []
        self.closed = 0
        self.images: Callable[[], Iterator[Any]] = lambda: iter(())
        monkeypatch.setattr(registry.backend, "list", self._list)

    def _list(self, query: ListQuery, caller: Caller) -> Iterator[Any]:
        self.queries.append(query)
        try:
            for image in self.images():
                self.taken.append(getattr(image, "id", "no image"))
                yield image
        finally:
            self.closed += 1

    def yields(self, *images: Any) -> None:
        self.images = lambda: iter(images)

    def page(self, query: str = "", caller: Caller = ANONYMOUS) -> list[str]:
        request = Request.blank(f"/v1/images?{query}")
        return [image.id for image in self.pages.page(request, caller)]


@pytest.fixture
def listed(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Listed:
    return Listed(memory, monkeypatch)


def public(image_id: str) -> Image:
    return Image(id=image_id, status="active", is_public=True)


def private(image_id: str, owner: str = "p1") -> Image:
    return Image(id=image_id, status="active", owner=owner, members=frozenset({"p2"}))


def test_takes_no_more_than_the_page(listed: Listed) -> None:
    listed.yields(*map(public, "abcdef"))
    assert listed.page("limit=2") == ["a", "b"]
    assert (listed.taken, listed.closed) == (["a", "b"], 1)


@pytest.mark.parametrize(
    ("query", "page"), [("", "abc"), ("limit=1", "a"), ("limit=0", ""), ("limit=9", "abcde")]
)
def test_limit(listed: Listed, query: str, page: str) -> None:
    listed.yields(*map(public, "abcdef"))
    assert listed.page(query) == list(page)


def test_takes_more_until_the_page_is_full(listed: Listed) -> None:
    listed.yields(private("a"), public("b"), private("c"), private("d"), public("e"), public("f"))
    assert listed.page("limit=2") == ["b", "e"]
    assert listed.taken == list("abcde")


@pytest.mark.parametrize(
    ("caller", "page"), [(ANONYMOUS, "a"), (MEMBER, "ab"), (OTHER, "ab"), (ADMIN, "abc")]
)
def test_shows_only_what_the_caller_may_know_of(listed: Listed, caller: Caller, page: str) -> None:
    deleted = Image(id="c", status="deleted", is_public=True, owner="p1")
    listed.yields(public("a"), private("b"), deleted)
    assert listed.page(caller=caller) == list(page)


def test_registry_that_decides_is_believed_but_for_deleted_images(
    listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(listed.memory.registry), "decides_visibility", True)
    listed.yields(private("a"), Image(id="b", status="deleted"))
    assert listed.page() == ["a"]


def test_policy_is_asked_about_each_image(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    def allows(action: str, caller: Caller, target: Any) -> bool:
        assert action == "get_image"
        return bool(target["id"] != "b")

    monkeypatch.setattr(listed.memory.api.backends.policy.backend, "allows", allows)
    listed.yields(*map(public, "abc"))
    assert listed.page() == ["a", "c"]


def test_registry_gets_the_query_and_the_image_of_the_marker(listed: Listed) -> None:
    listed.memory.registry.put(public("m"))
    assert listed.page("marker=m&sort_dir=asc&limit=9") == []
    assert listed.queries == [ListQuery(after=public("m"), descending=False, limit=5)]


@pytest.mark.parametrize(
    "marker", ["", "absent", "hidden", "deleted", "a%2Fb", "detail", "%01", "x" * 300, "M"]
)
def test_marker_that_the_caller_may_not_head(listed: Listed, marker: str) -> None:
    for image in (public("m"), private("hidden"), Image(id="deleted", status="deleted")):
        listed.memory.registry.put(image)
    with pytest.raises(exc.HTTPBadRequest, match="marker must be the id of an image"):
        listed.page(f"marker={marker}")
    assert listed.queries == []


def test_marker_that_the_policy_refuses(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    listed.memory.registry.put(public("m"))
    policy = listed.memory.api.backends.policy.backend
    monkeypatch.setattr(policy, "allows", lambda *_: False)
    with pytest.raises(exc.HTTPBadRequest, match="not 'm'"):
        listed.page("marker=m")


@pytest.mark.parametrize("marker", ["hidden", "deleted"])
def test_marker_of_an_admin(listed: Listed, marker: str) -> None:
    for image in (private("hidden"), Image(id="deleted", status="deleted")):
        listed.memory.registry.put(image)
    assert listed.page(f"marker={marker}", ADMIN) == []


def test_registry_out_of_reach_for_the_marker(
    listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(*_: Any) -> Image:
        raise BackendUnavailable("nobody there")

    monkeypatch.setattr(listed.memory.registry, "get", get)
    with pytest.raises(BackendUnavailable):
        listed.page("marker=m")


def test_wrong_parameter_asks_no_registry(listed: Listed) -> None:
    with pytest.raises(exc.HTTPBadRequest):
        listed.page("limit=x")
    assert listed.queries == []


def test_registry_out_of_reach_in_the_middle(
    listed: Listed, caplog: pytest.LogCaptureFixture
) -> None:
    def images() -> Iterator[Image]:
        yield public("a")
        raise BackendUnavailable("nobody there")

    listed.images = images
    with pytest.raises(BackendUnavailable):
        listed.page()
    assert listed.closed == 1
    (record,) = caplog.records
    assert record.getMessage() == "a list: registry 'memory': nobody there"


def test_registry_that_raises_another_error(
    listed: Listed, caplog: pytest.LogCaptureFixture
) -> None:
    def images() -> Iterator[Image]:
        yield public("a")
        raise KeyError("name")

    listed.images = images
    with pytest.raises(BackendError, match="registry 'memory' raised KeyError"):
        listed.page()
    assert caplog.records[-1].exc_info is not None


def test_registry_that_yields_no_image(listed: Listed, caplog: pytest.LogCaptureFixture) -> None:
    listed.yields("a")
    with pytest.raises(BackendError, match=r"list\(\) must yield an imageapi.Image, not str"):
        listed.page()
    assert listed.closed == 1
    assert "must yield an imageapi.Image, not str" in caplog.text


@pytest.mark.parametrize("caller", [ANONYMOUS, MEMBER, Caller(project_id="")])
def test_shared_images_of_another_project(listed: Listed, caller: Caller) -> None:
    listed.yields(private("a"))
    assert listed.pages.shared_with("p2", caller) == []
    assert listed.queries == []


@pytest.mark.parametrize("caller", [OTHER, ADMIN])
def test_shared_images(listed: Listed, caller: Caller) -> None:
    listed.yields(private("a"), Image(id="b", status="active", owner="p9"))
    found = [image.id for image in listed.pages.shared_with("p2", caller)]
    assert found == (["a", "b"] if caller.is_admin else ["a"])
    assert listed.queries == [
        ListQuery(shared_with="p2", project_id="p2", descending=False, limit=5)
    ]
    assert listed.closed == 1
