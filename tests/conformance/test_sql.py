# SPDX-License-Identifier: Apache-2.0
"""The registry in a database passes the conformance suites, on real databases."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest
import testtools
from sqlalchemy.engine import make_url

from imageapi.backends.sql.registry import SQLRegistry
from imageapi.caller import Caller
from imageapi.image import NO_LOCATION, Image
from imageapi.protocol.value_text import text_of
from imageapi.testing.list_suite import ListSuite
from imageapi.testing.registry_suite import RegistrySuite
from imageapi.testing.suite import build
from tests.functional.database_server import OWNER_PASSWORD, DatabaseServer, running_database
from tests.functional.mariadb import MariaDB
from tests.functional.postgresql import PostgreSQL
from tests.functional.servers import free_port
from tests.glance_tables import GlanceTables


def created(image: Image) -> Image:
    """An image with the time of its creation, which each row has."""
    return replace(image, created_at=image.created_at or datetime(2010, 2, 3, tzinfo=UTC))


class SQLRegistrySuite(RegistrySuite, ListSuite, mixin=True):
    """The registry in a database of a kind, which each case finds empty."""

    # Deleted images are for admins.
    caller = Caller(user_id="admin", is_admin=True)
    # Each image takes some round trips.
    many = 60
    moments = 20
    tables: ClassVar[GlanceTables]
    url: ClassVar[str]

    def make_registry(self) -> SQLRegistry:
        self.tables.clear()
        return build(SQLRegistry, connection=self.url)

    def put(self, image: Image) -> None:
        self.tables.put(created(image))

    def hold(self, *images: Image) -> list[Image]:
        return super().hold(*map(created, images))

    def remove(self, image_id: str) -> None:
        self.tables.remove(image_id)

    def put_malformed(self, image_id: str) -> None:
        image = created(Image(id=image_id, status="active", is_public=True))
        self.tables.put(image, status="odd")

    def can_have(self, image_id: str) -> bool:
        return len(image_id) <= 36 and image_id.isascii()

    def same(self, wanted: Image, got: Image, what: str, but: frozenset[str] = frozenset()) -> None:
        """Properties are texts in these tables, and no location means no data."""
        texts = {name: text_of(value) for name, value in wanted.properties.items()}
        locations = wanted.locations or (NO_LOCATION,)
        members = frozenset() if wanted.is_public else wanted.members
        as_stored = replace(created(wanted), properties=texts, locations=locations, members=members)
        super().same(as_stored, got, what, but)


class TestSQLite(SQLRegistrySuite, testtools.TestCase):
    def make_unreachable(self) -> SQLRegistry:
        return build(SQLRegistry, connection="sqlite:////no/such/folder/glance.sqlite")


class ServerSuite(SQLRegistrySuite, mixin=True):
    secrets = (OWNER_PASSWORD,)

    def make_unreachable(self) -> SQLRegistry:
        url = make_url(self.url).set(port=free_port())
        return build(SQLRegistry, connection=url.render_as_string(hide_password=False))


class TestPostgreSQL(ServerSuite, testtools.TestCase):
    pass


class TestMariaDB(ServerSuite, testtools.TestCase):
    # A property has at most 64 KiB.
    many = 800

    def can_have(self, image_id: str) -> bool:
        """Two ids that differ in letter case, or in blanks at their end, are the same key."""
        return super().can_have(image_id) and image_id == image_id.rstrip().lower()

    def can_hold(self, image: Image) -> bool:
        """Glance's tables have no characters beyond U+FFFF.  Names are the same as above."""
        names = {name.lower().rstrip() for name in image.properties}
        return max(image.name or " ") <= "\uffff" and len(names) == len(image.properties)


@pytest.fixture(scope="module", autouse=True)
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    file = tmp_path_factory.mktemp("sqlite") / "glance.sqlite"
    with ExitStack() as stack:
        urls: dict[type[SQLRegistrySuite], str] = {TestSQLite: f"sqlite:///{file}"}
        servers: dict[type[SQLRegistrySuite], DatabaseServer] = {
            TestPostgreSQL: PostgreSQL(tmp_path_factory.mktemp("postgresql")),
            TestMariaDB: MariaDB(tmp_path_factory.mktemp("mariadb")),
        }
        for kind, server in servers.items():
            stack.enter_context(running_database(server))
            urls[kind] = server.create_database("suites")
        for kind, url in urls.items():
            kind.url, kind.tables = url, GlanceTables(url)
            stack.callback(kind.tables.close)
        yield
