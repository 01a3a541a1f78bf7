# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from imageapi.backends.sql.options import DRIVERS
from tests.configuration import problems_of

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("connection", "problem"),
    [
        ("", "must be set"),
        (f"glance {SECRET}", "not a URL of a database"),
        (f"oracle://u:{SECRET}@host/glance", "a 'oracle' database; supported are"),
        ("sqlite://", "name the file of the database"),
        ("sqlite:///:memory:", "name the file of the database"),
        (f"mysql://u:x@{SECRET}@h/glance", "in the password, write @ as %40"),
    ],
)
def test_wrong_connection(tmp_path: Path, connection: str, problem: str) -> None:
    text = f"[imageapi]\nregistry = sql\n[imageapi_registry_sql]\nconnection = {connection}\n"
    (told,) = problems_of(tmp_path, text)
    assert "[imageapi_registry_sql] connection: " in told
    assert problem in told
    assert SECRET not in told


def test_wrong_replica_and_key(tmp_path: Path) -> None:
    text = "[imageapi]\nregistry = sql\n[imageapi_registry_sql]\nconnection = sqlite:////x\n"
    (told,) = problems_of(tmp_path, f"{text}slave_connection = x\n")
    assert "slave_connection: not a URL of a database" in told
    (told,) = problems_of(tmp_path, f"{text}metadata_encryption_key = {SECRET}\n")
    assert "must have 16, 24 or 32 bytes, not 7" in told
    assert SECRET not in told


@pytest.mark.parametrize("dialect", DRIVERS)
def test_each_database_has_a_driver_that_sqlalchemy_knows(dialect: str) -> None:
    url = make_url(f"{dialect}+{DRIVERS[dialect]}://")
    assert url.get_dialect().driver == DRIVERS[dialect]
