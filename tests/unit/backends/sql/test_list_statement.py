# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.engine import make_url

from imageapi.backends.listing import ListQuery
from imageapi.backends.sql.list_statement import ListStatement, time_text
from imageapi.backends.sql.schema import IMAGE_COLUMNS, Schema

SCHEMA = Schema([*IMAGE_COLUMNS, "visibility", "os_hidden"])


@pytest.mark.parametrize(
    ("dialect", "order"),
    [
        ("postgresql", 'created_at DESC, images.id COLLATE "C" DESC'),
        ("mysql+pymysql", "created_at DESC, CAST(images.id AS BINARY) DESC"),
        ("sqlite", "created_at DESC, images.id DESC"),
    ],
)
def test_texts_are_sorted_by_code_point(dialect: str, order: str) -> None:
    url = make_url(f"{dialect}://")
    statement = ListStatement(SCHEMA, url.get_backend_name(), ListQuery()).page(None)
    assert order in str(statement.compile(dialect=url.get_dialect()()))


def test_the_place_of_a_page_is_a_condition_for_an_index() -> None:
    statement = ListStatement(SCHEMA, "sqlite", ListQuery())
    after = {"id": "one", "created_at": "2026-01-01"}
    assert "images.created_at <= :created_at_1 AND" in str(statement.page(after))


def test_a_page_has_one_row_more_than_the_client_gets() -> None:
    assert ListStatement(SCHEMA, "sqlite", ListQuery(limit=25)).size == 26
    assert ListStatement(SCHEMA, "sqlite", ListQuery(limit=10**9)).size == 1000


def test_an_old_schema_has_no_community() -> None:
    schema = Schema([*IMAGE_COLUMNS, "is_public"])
    query = ListQuery(project_id="p", is_public=False)
    statement = str(ListStatement(schema, "sqlite", query).page(None))
    assert "visibility" not in statement
    assert "images.is_public" in statement


def test_time_text() -> None:
    time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert time_text(time) == "2026-01-02 02:04:05.000000"
    assert time_text(time.astimezone(UTC)) == time_text(time)
