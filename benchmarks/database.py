# SPDX-License-Identifier: Apache-2.0
"""Records and lists of a million images in PostgreSQL, beside the Glance that has them there."""

from collections.abc import Iterator, Sequence

from benchmarks import load, servers
from benchmarks.effort import Effort
from benchmarks.figures import Aim, Figure
from benchmarks.pages import Lists, side_by_side
from benchmarks.workplace import Workplace
from tests.functional.database_glance import for_glance
from tests.functional.database_server import running_database
from tests.functional.openstack import open_glance
from tests.functional.postgresql import PostgreSQL
from tests.functional.servers import free_port

# For each record of the benchmark's large registry.
_TIMES = 10
_CONNECTIONS = (1, 4, 16)
# How many rows a statement inserts.
_AT_ONCE = 100_000

_TWENTY_TIMES = Aim(">=", 20.0)
_SOON = Aim("<", 20.0)
_AS_THE_FIRST = Aim("<=", 1.5)

_CONFIGURATION = """\
[imageapi]
registry = sql
[imageapi_registry_sql]
connection = {url}
max_pool_size = 16
[imageapi_store_file]
directory = {folder}
"""

# A third of the images is public, and the others belong to many projects.
_INSERT = """\
INSERT INTO images (id, name, size, status, visibility, owner, created_at, updated_at, deleted,
    checksum, min_disk, min_ram, protected, disk_format, container_format, os_hidden)
SELECT {id}, 'image ' || n % 1000, n, 'active',
    (CASE WHEN n % 3 = 0 THEN 'public' ELSE 'shared' END)::image_visibility,
    'project-' || n % 997, {time}, {time}, false, md5(n::text), 0, 0, false, 'qcow2', 'bare', false
FROM generate_series({first}, {last}) n;
INSERT INTO image_properties (image_id, name, value, created_at, updated_at, deleted)
SELECT {id}, name, 'value ' || n % 50, {time}, {time}, false
FROM generate_series({first}, {last}) n, unnest(ARRAY['os_distro', 'os_version', 'number']) name;
INSERT INTO image_locations (image_id, value, created_at, updated_at, deleted, meta_data, status)
SELECT {id}, 'file:///images/' || n, {time}, {time}, false, '{{}}', 'active'
FROM generate_series({first}, {last}) n;
INSERT INTO image_members (image_id, member, can_share, created_at, updated_at, deleted, status)
SELECT {id}, 'customer-' || n % 101, false, {time}, {time}, false, 'accepted'
FROM generate_series({first}, {last}) n WHERE n % 3 = 1;
"""
_ID = "lpad((n::bigint * 7919 % 1000003)::text, 8, '0') || '-0000-4000-8000-000000000000'"
# In no order of the table.
_SOME_IDS = "SELECT id FROM images WHERE visibility = 'public' ORDER BY md5(id) LIMIT 1000;"
_TIME = "timestamp '2026-01-01' + (n::bigint * 7919 % 1000003) * interval '7 seconds'"


def measure(workplace: Workplace, effort: Effort) -> Iterator[Figure]:
    """All figures; both servers read the same database, and are asked in turns."""
    folder = workplace.folder / "database"
    (folder / "glance").mkdir(parents=True)
    (folder / "postgresql").mkdir()
    count = effort.records * _TIMES
    port = free_port()
    with running_database(PostgreSQL(folder / "postgresql")) as server:
        url = server.create_database("glance")
        config_file = folder / "imageapi.conf"
        config_file.write_text(_CONFIGURATION.format(url=url, folder=folder))
        with (
            open_glance(folder / "glance", port, database=for_glance(url)),
            servers.imageapi(servers.UWSGI, config_file) as served,
        ):
            # Glance makes the tables before it answers.
            Lists(port, "/v2/images").page("")
            for first in range(1, count + 1, _AT_ONCE):
                last = min(first + _AT_ONCE - 1, count)
                insert = _INSERT.format(id=_ID, time=_TIME, first=first, last=last)
                server.execute(insert, "glance")
            server.execute("VACUUM ANALYZE;", "glance")
            ids = server.execute(_SOME_IDS, "glance").split()
            yield from _records(served.port, port, ids, count, effort)
            yield from _lists(served.port, port, count, effort)


def _records(
    ours: int, glance: int, ids: Sequence[str], count: int, effort: Effort
) -> Iterator[Figure]:
    """In v1 the record of an image is the answer to HEAD, and in v2 to GET."""
    asked = {
        ours: load.questions([f"/v1/images/{one}" for one in ids], None, "HEAD"),
        glance: load.questions([f"/v2/images/{one}" for one in ids], None),
    }
    for connections in _CONNECTIONS:
        rates: dict[int, list[float]] = {ours: [], glance: []}
        for port, questions in asked.items():
            load.ask(port, questions, connections, effort.seconds / 2)
        for _ in range(effort.rounds):
            for port, questions in asked.items():
                rates[port].append(load.ask(port, questions, connections, effort.seconds).rate)
        yield Figure(
            name=f"{count} images in PostgreSQL, a record, {connections} conn",
            unit="requests/s",
            ours=rates[ours],
            theirs=rates[glance],
            against="Glance's GET of it",
            aim=_TWENTY_TIMES,
        )


def _lists(ours: int, glance: int, count: int, effort: Effort) -> Iterator[Figure]:
    case = f"{count} images in PostgreSQL"
    mine, others = Lists(ours, "/v1/images/detail"), Lists(glance, "/v2/images")
    firsts = [(mine.walk(""), others.walk("")) for _ in range(effort.rounds)]
    yield from side_by_side(f"{case}, page", firsts, _SOON)
    lasts = [(mine.last_page(), others.last_page()) for _ in range(effort.rounds)]
    yield from side_by_side(f"{case}, last page", lasts, _SOON)
    yield Figure(
        name=f"{case}, last page",
        unit="ms",
        ours=[one for one, _ in lasts],
        theirs=[one for one, _ in firsts],
        against="the first ones",
        aim=_AS_THE_FIRST,
    )
