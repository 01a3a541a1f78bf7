# SPDX-License-Identifier: Apache-2.0
"""The real PostgreSQL and MariaDB do what tests of the registry rely on."""

import socket
import subprocess

import pytest

from tests.functional.database_server import READABLE, DatabaseServer
from tests.functional.openstack import ENVIRONMENTS

# Asks PostgreSQL whether it speaks TLS. MariaDB begins by itself.
HELLO = bytes.fromhex("0000000804d2162f")

# Where the drivers of Glance are.
PYTHON = ENVIRONMENTS / "glance" / "bin" / "python"
READ_AND_WRITE = """
import sys, sqlalchemy
engine = sqlalchemy.create_engine(sys.argv[1])
def told(statement):
    with engine.connect() as connection:
        try:
            return connection.execute(sqlalchemy.text(statement)).rowcount
        except sqlalchemy.exc.DBAPIError as error:
            return "denied" if "denied" in str(error) else str(error)
for table in sys.argv[2:]:
    print(table, told("SELECT n FROM " + table), told("INSERT INTO " + table + " VALUES (2)"))
"""


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def sql_server(request: pytest.FixtureRequest) -> DatabaseServer:
    started: DatabaseServer = request.getfixturevalue(request.param)
    return started


def numbers(sql_server: DatabaseServer) -> str:
    return sql_server.execute("SELECT n FROM numbers ORDER BY n;", "kept")


def test_data_survives_stop_and_kill(sql_server: DatabaseServer) -> None:
    sql_server.create_database("kept")
    sql_server.execute("CREATE TABLE numbers (n INT); INSERT INTO numbers VALUES (1);", "kept")
    first = sql_server.process.pid
    sql_server.restart()
    assert sql_server.process.pid != first
    sql_server.execute("INSERT INTO numbers VALUES (2);", "kept")
    sql_server.kill()
    with pytest.raises(subprocess.CalledProcessError):
        numbers(sql_server)
    sql_server.start()
    assert numbers(sql_server) == "1\n2\n"


def test_frozen_server_accepts_and_does_not_answer(sql_server: DatabaseServer) -> None:
    sql_server.freeze()
    try:
        with socket.create_connection(("127.0.0.1", sql_server.port)) as client:
            client.sendall(HELLO)
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(1)
            sql_server.thaw()
            client.settimeout(60)
            assert client.recv(1)
    finally:
        sql_server.thaw()


def test_reader_may_only_select_four_tables(sql_server: DatabaseServer) -> None:
    sql_server.create_database("granted")
    for table in (*READABLE, "tasks"):
        statements = f"CREATE TABLE {table} (n INT); INSERT INTO {table} VALUES (1);"
        sql_server.execute(statements, "granted")
    url = sql_server.create_reader("granted").replace("+psycopg:", "+psycopg2:")
    command = [str(PYTHON), "-c", READ_AND_WRITE, url, *READABLE, "tasks"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    expected = [*(f"{table} 1 denied" for table in READABLE), "tasks denied denied"]
    assert done.stdout.splitlines() == expected, done.stderr
