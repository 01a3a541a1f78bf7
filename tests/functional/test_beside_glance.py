# SPDX-License-Identifier: Apache-2.0
"""A real Glance, over each database: which caller sees and downloads which image."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from tests.functional.beside_glance import as_rows, ask_v2, make_images
from tests.functional.database_glance import DatabaseGlance, glance_over
from tests.functional.database_server import DatabaseServer

pytestmark = pytest.mark.timeout(300)

DATABASES = ("sqlite", "postgresql", "mariadb")

# S: the caller sees the image. L: it is in the caller's list. D: the caller gets its data.
V2 = """\
                       admin owner reader member stranger anonymous
imported               SLD SLD SL- --- --- ---
copied                 SLD SLD SL- --- --- ---
removed from fast      SLD SLD SL- --- --- ---
public                 SLD SLD SL- SLD SLD ---
private                SLD SLD SL- --- --- ---
shared                 SLD SLD SL- --- --- ---
community              S-D SLD SL- S-D S-D ---
pending                SLD SLD SL- S-D --- ---
accepted               SLD SLD SL- SLD --- ---
rejected               SLD SLD SL- S-D --- ---
member removed         SLD SLD SL- --- --- ---
shared, then private   SLD SLD SL- --- --- ---
shared, then community S-D SLD SL- S-D S-D ---
hidden and public      S-D S-D S-- S-D S-D ---
hidden and accepted    S-D S-D S-- S-D --- ---
deactivated            SLD SL- SL- SL- --- ---
deleted                --- --- --- --- --- ---
queued                 SL- SL- SL- SL- SL- ---
uploading              SL- SL- SL- --- --- ---
empty                  SLD SLD SL- --- --- ---
private without owner  SLD --- --- --- --- ---
shared without owner   SLD S-D S-- S-D S-D ---
public without owner   SLD SLD SL- SLD SLD ---
changed                SLD SLD SL- --- --- ---
"""


class Beside(NamedTuple):
    """A Glance with images.

    :ivar reader_url: the URL of its database, for a login that may only read four tables.
    :ivar ids: of the images, by their names.
    """

    glance: DatabaseGlance
    reader_url: str
    ids: dict[str, str]


def rows_in(table: str) -> dict[str, str]:
    """The rows of a table, by the names of the images."""
    return {line[:22].rstrip(): line[23:] for line in table.splitlines()[1:]}


@pytest.fixture(scope="module")
def glances(
    postgresql: DatabaseServer, mariadb: DatabaseServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Beside]]:
    """A Glance over each database, by its name."""
    servers = {"postgresql": postgresql, "mariadb": mariadb}
    with ExitStack() as stack:

        def start(database: str) -> Beside:
            folder = tmp_path_factory.getbasetemp() / f"glance-over-{database}"
            folder.mkdir()
            server = servers.get(database)
            url = f"sqlite:///{folder}/glance.db"
            if server:
                url = server.create_database("glance")
            glance = stack.enter_context(glance_over(folder, url))
            ids = make_images(glance)
            return Beside(glance, server.create_reader("glance") if server else url, ids)

        # Each of them waits most of the time, for a process that starts or a database.
        with ThreadPoolExecutor() as pool:
            yield dict(zip(DATABASES, pool.map(start, DATABASES), strict=True))


@pytest.fixture(params=DATABASES)
def beside(request: pytest.FixtureRequest, glances: dict[str, Beside]) -> Beside:
    return glances[request.param]


def test_v2(beside: Beside) -> None:
    """So the images are what their names say."""
    assert as_rows(ask_v2(beside.glance, beside.ids)) == rows_in(V2)
