# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from webob import Request, exc

from imageapi.backends.listing import ListQuery
from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import BackendError, BackendUnavailable, ImageNotFound
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
def fake(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Listed:
    return Listed(memory, monkeypatch)


def public(image_id: str) -> Image:
    return Image(id=image_id, status="active", is_public=True)


def private(image_id: str, owner: str = "p1") -> Image:
    return Image(id=image_id, status="active", owner=owner, members=frozenset({"p2"}))


def test_takes_no_more_than_the_page(fake: Listed) -> None:
    fake.yields(*map(public, "abcdef"))
    assert fake.page("limit=2") == ["a", "b"]
    assert (fake.taken, fake.closed) == (["a", "b"], 1)


@pytest.mark.parametrize(
    ("query", "page"), [("", "abc"), ("limit=1", "a"), ("limit=0", ""), ("limit=9", "abcde")]
)
def test_limit(fake: Listed, query: str, page: str) -> None:
    fake.yields(*map(public, "abcdef"))
    assert fake.page(query) == list(page)


def test_takes_more_until_the_page_is_full(fake: Listed) -> None:
    fake.yields(private("a"), public("b"), private("c"), private("d"), public("e"), public("f"))
    assert fake.page("limit=2") == ["b", "e"]
    assert fake.taken == list("abcde")


@pytest.mark.parametrize(
    ("caller", "page"), [(ANONYMOUS, "a"), (MEMBER, "ab"), (OTHER, "ab"), (ADMIN, "abc")]
)
def test_shows_only_what_the_caller_may_know_of(fake: Listed, caller: Caller, page: str) -> None:
    deleted = Image(id="c", status="deleted", is_public=True, owner="p1")
    fake.yields(public("a"), private("b"), deleted)
    assert fake.page(caller=caller) == list(page)


def test_registry_that_decides_is_believed_but_for_deleted_images(
    fake: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(fake.memory.registry), "decides_visibility", True)
    fake.yields(private("a"), Image(id="b", status="deleted"))
    assert fake.page() == ["a"]


def test_policy_is_asked_about_each_image(fake: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    def allows(action: str, caller: Caller, target: Any) -> bool:
        assert action == "get_image"
        return bool(target["id"] != "b")

    monkeypatch.setattr(fake.memory.api.backends.policy.backend, "allows", allows)
    fake.yields(*map(public, "abc"))
    assert fake.page() == ["a", "c"]


def test_policy_that_cannot_decide_is_not_blamed_on_the_registry(
    fake: Listed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def allows(*_: Any) -> bool:
        raise BackendUnavailable("no answer")

    monkeypatch.setattr(fake.memory.api.backends.policy.backend, "allows", allows)
    fake.yields(public("a"), public("b"))
    with pytest.raises(BackendUnavailable):
        fake.page()
    assert caplog.messages == ["policy 'visible' cannot decide get_image: no answer"]


def test_registry_gets_the_query_and_the_image_of_the_marker(fake: Listed) -> None:
    fake.memory.registry.put(public("m"))
    assert fake.page("marker=m&sort_dir=asc&limit=9") == []
    assert fake.queries == [ListQuery(after=public("m"), descending=False, limit=5)]


@pytest.mark.parametrize(
    "marker", ["", "absent", "hidden", "deleted", "a%2Fb", "detail", "%01", "x" * 300, "M"]
)
def test_marker_that_the_caller_may_not_head(fake: Listed, marker: str) -> None:
    for image in (public("m"), private("hidden"), Image(id="deleted", status="deleted")):
        fake.memory.registry.put(image)
    with pytest.raises(exc.HTTPBadRequest, match="marker must be the id of an image"):
        fake.page(f"marker={marker}")
    assert fake.queries == []


def test_marker_is_read_as_it_is_now(fake: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.memory.registry.put(public("m"))

    def get_newest(*_: Any) -> Image:
        raise ImageNotFound("removed just now")

    monkeypatch.setattr(fake.memory.registry, "get_newest", get_newest)
    with pytest.raises(exc.HTTPBadRequest, match="not 'm'"):
        fake.page("marker=m")


def test_marker_that_the_policy_refuses(fake: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.memory.registry.put(public("m"))
    policy = fake.memory.api.backends.policy.backend
    monkeypatch.setattr(policy, "allows", lambda *_: False)
    with pytest.raises(exc.HTTPBadRequest, match="not 'm'"):
        fake.page("marker=m")


@pytest.mark.parametrize("marker", ["hidden", "deleted"])
def test_marker_of_an_admin(fake: Listed, marker: str) -> None:
    for image in (private("hidden"), Image(id="deleted", status="deleted")):
        fake.memory.registry.put(image)
    assert fake.page(f"marker={marker}", ADMIN) == []


def test_registry_out_of_reach_for_the_marker(
    fake: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(*_: Any) -> Image:
        raise BackendUnavailable("nobody there")

    monkeypatch.setattr(fake.memory.registry, "get", get)
    with pytest.raises(BackendUnavailable):
        fake.page("marker=m")


def test_wrong_parameter_asks_no_registry(fake: Listed) -> None:
    with pytest.raises(exc.HTTPBadRequest):
        fake.page("limit=x")
    assert fake.queries == []


def test_registry_out_of_reach_in_the_middle(
    fake: Listed, caplog: pytest.LogCaptureFixture
) -> None:
    def images() -> Iterator[Image]:
        yield public("a")
        raise BackendUnavailable("nobody there")

    fake.images = images
    with pytest.raises(BackendUnavailable):
        fake.page()
    assert fake.closed == 1
    (record,) = caplog.records
    assert record.getMessage() == "a list: registry 'memory': nobody there"


def test_registry_that_raises_another_error(fake: Listed, caplog: pytest.LogCaptureFixture) -> None:
    def images() -> Iterator[Image]:
        yield public("a")
        raise KeyError("name")

    fake.images = images
    with pytest.raises(BackendError, match="registry 'memory' raised KeyError"):
        fake.page()
    assert caplog.records[-1].exc_info is not None


def test_registry_that_yields_no_image(fake: Listed, caplog: pytest.LogCaptureFixture) -> None:
    fake.yields("a")
    with pytest.raises(BackendError, match=r"list\(\) must yield an imageapi.Image, not str"):
        fake.page()
    assert fake.closed == 1
    assert "must yield an imageapi.Image, not str" in caplog.text


@pytest.mark.parametrize("caller", [ANONYMOUS, MEMBER, Caller(project_id="")])
def test_shared_images_of_another_project(fake: Listed, caller: Caller) -> None:
    fake.yields(private("a"))
    assert fake.pages.shared_with("p2", caller) == []
    assert fake.queries == []


@pytest.mark.parametrize("caller", [OTHER, ADMIN])
def test_shared_images(fake: Listed, caller: Caller) -> None:
    fake.yields(private("a"), Image(id="b", status="active", owner="p9"))
    found = [image.id for image in fake.pages.shared_with("p2", caller)]
    assert found == (["a", "b"] if caller.is_admin else ["a"])
    assert fake.queries == [ListQuery(shared_with="p2", project_id="p2", descending=False, limit=5)]
    assert fake.closed == 1


def test_a_filter_on_a_hidden_property_asks_no_registry(fake: Listed) -> None:
    """Also for an admin: Glance's own notes are hidden from every caller."""
    fake.yields(public("a"))
    for caller in (ANONYMOUS, ADMIN):
        assert fake.page("property-os_glance_x=1&property-a=1", caller) == []
    assert fake.queries == []
    assert fake.page("property-x_os_glance_x=1") == ["a"]
