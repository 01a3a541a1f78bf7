# SPDX-License-Identifier: Apache-2.0
import sqlite3
import sys
from pathlib import Path

import pymysql
import pytest
from sqlalchemy.engine import make_url

from imageapi.backends.sql.drivers import connector
from imageapi.errors import ConfigurationError


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "glance.sqlite"
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        connector(make_url(f"sqlite:///{path}"), 1, 1)()
    assert not path.exists()


def test_a_path_may_have_any_character(tmp_path: Path) -> None:
    path = tmp_path / "what?mode=ro#x %20"
    sqlite3.connect(path).close()
    connection = connector(make_url("sqlite://").set(database=str(path)), 1, 1)()
    connection.execute("CREATE TABLE t (x)")
    connection.close()


@pytest.mark.parametrize(
    ("driver", "url", "package"),
    [
        ("psycopg", "postgresql+psycopg://host/glance", r"psycopg\[binary\]"),
        ("pymysql", "mysql+pymysql://host/glance", "PyMySQL"),
    ],
)
def test_a_driver_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, driver: str, url: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ConfigurationError, match=f"run pip install '{package}'"):
        connector(make_url(url), 1, 1)


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("plugin=dbcounter&charset=utf8", "Can't connect"),
        ("typo=1", "wrong parameter in the URL: .*'typo'"),
    ],
)
def test_parameters_in_the_url_of_a_database(parameters: str, problem: str) -> None:
    connect = connector(make_url(f"mysql+pymysql://u@127.0.0.1:1/glance?{parameters}"), 1, 1)
    with pytest.raises(pymysql.OperationalError, match=problem):
        connect()
