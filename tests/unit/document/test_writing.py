# SPDX-License-Identifier: Apache-2.0
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi import document
from imageapi.image import STATUSES, Image, Location


def test_details_have_the_types_of_the_seed() -> None:
    image = Image(
        id="i",
        status="active",
        name="a\ud800",
        size=5,
        created_at=datetime(2010, 2, 3, 9, 34, 1, 5, tzinfo=UTC),
        updated_at=datetime(2010, 2, 3, 9, 34, 1, tzinfo=timezone(timedelta(hours=2))),
        min_ram=256,
        owner="p1",
        properties={"n": 1, "none": None, "list": [1, {"a": None}], "\udfff": "\udfff"},
        members=frozenset({"p2"}),
        locations=(Location("file:///secret"),),
    )
    assert document.details(image, "http://x/i") == {
        "images": [
            {
                "uri": "http://x/i",
                "id": "i",
                "name": "a\ufffd",
                "disk_format": None,
                "container_format": None,
                "size": "5",
                "checksum": None,
                "created_at": "2010-02-03 09:34:01",
                "updated_at": "2010-02-03 07:34:01",
                "deleted_at": "",
                "status": "active",
                "is_public": False,
                "min_ram": 256,
                "min_disk": 0,
                "owner": "p1",
                "properties": {"n": "1", "list": '[1,{"a":null}]', "\ufffd": "\ufffd"},
            }
        ]
    }


@pytest.mark.parametrize(
    ("image", "more"),
    [
        (Image(id="i", status="queued"), {}),
        (
            Image(id="i", status="queued", members=frozenset({"b", "a"})),
            {"members": ["a", "b"]},
        ),
        (
            Image(id="i", status="queued", locations=(Location("a:1"), Location("b:2", "s"))),
            {"locations": [{"url": "a:1"}, {"url": "b:2", "metadata": {"store": "s"}}]},
        ),
    ],
)
def test_a_record_has_locations_and_members_only_if_there_are_some(
    image: Image, more: dict[str, object]
) -> None:
    written = document.record(image)
    assert {name: written[name] for name in ("locations", "members") if name in written} == more


@given(
    st.builds(
        Image,
        id=st.just("i"),
        status=st.sampled_from(sorted(STATUSES)),
        name=st.none() | st.text(st.characters(codec="utf-8")),
        size=st.none() | st.integers(0, 10**18),
        virtual_size=st.none() | st.integers(0, 10**18),
        is_public=st.booleans(),
        protected=st.booleans(),
        deleted=st.booleans(),
        created_at=st.none()
        | st.datetimes(min_value=datetime(1, 1, 2)).map(lambda t: t.replace(microsecond=0)),
        min_ram=st.integers(0, 10**6),
        owner=st.none() | st.text(st.characters(codec="utf-8"), min_size=1),
        properties=st.dictionaries(
            st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))
        ),
        locations=st.lists(
            st.builds(Location, st.just("file:///x"), st.none() | st.just("second")), max_size=32
        ).map(tuple),
        members=st.frozensets(st.text(st.characters(codec="utf-8"))),
    )
)
def test_a_written_record_is_read_back(image: Image) -> None:
    assert document.parse(json.dumps(document.record(image)).encode(), "i") == image
