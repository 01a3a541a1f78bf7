# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
from sqlalchemy import CompoundSelect, bindparam, literal, select, union_all
from sqlalchemy.engine import make_url

from imageapi.backends.sql.driver_query import DriverQuery

_STATEMENT: CompoundSelect[Any] = union_all(
    select(literal("b"), literal("c")), select(bindparam("a"), bindparam("a"))
)


def compiled_for(url: str) -> DriverQuery:
    return DriverQuery(_STATEMENT, make_url(url).get_dialect()())


@pytest.mark.parametrize("url", ["sqlite://", "mysql+pymysql://", "mariadb+pymysql://"])
def test_parameters_in_order(url: str) -> None:
    assert compiled_for(url).parameters({"a": "one"}) == ["b", "c", "one", "one"]


def test_parameters_by_name() -> None:
    query = compiled_for("postgresql+psycopg://")
    assert query.parameters({"a": "one"}) == {"param_1": "b", "param_2": "c", "a": "one"}
    assert query.text.count("%(a)s") == 2
