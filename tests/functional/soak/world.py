# SPDX-License-Identifier: Apache-2.0
"""The servers behind imageapi in the soak, their records and data, and its configurations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.configuration import option_lines
from tests.functional.ceph import USER, running_ceph
from tests.functional.database_server import DatabaseServer
from tests.functional.mariadb import MariaDB
from tests.functional.nginx import Nginx
from tests.functional.postgresql import PostgreSQL
from tests.functional.s3 import s3_options
from tests.functional.soak.images import About, Changing, Surroundings, Tidy
from tests.functional.soak.keepers import Container, Folder, Keeper, Rows, Snapshots, WebFolder
from tests.functional.soak.untidy import Rewriting, Untidy, UntidyDynamic, UntidyFile, UntidyS3
from tests.functional.swift import Swift, v1_options

# The pools are small, so that a connection that is not given back is noticed. There are
# POOLS kinds: for records, for the data of three upstreams, and for logins.
POOL_SIZE, POOLS = 4, 5

#: Too small for all data, so that some is removed to make room.
CACHE_SIZE = 40_000_000

CONFIG = """\
[imageapi]
registry = {registry}
stores = file, http, swift, s3, rbd
policy = visible
verify_checksum = {verify}
chunk_size = {chunk_size}
{registry_section}
[imageapi_serve]
access_log = {turn_folder}/access.log
{cache}
[imageapi_store_file]
directory = {folder}/images
[imageapi_store_http]
allowed_urls = {url}
pool_size = {pool_size}
read_timeout = 10
[imageapi_store_swift]
container = images
auth_section = cloud
[imageapi_store_s3]
bucket = bucket
pool_size = {pool_size}
read_timeout = 10
{s3}
[imageapi_store_rbd]
ceph_conf = {ceph_conf}
user = {ceph_user}
pool = {ceph_pool}
operation_timeout = 20
[cloud]
pool_size = {pool_size}
timeout = 10
connect_retries = 2
connect_retry_delay = 0.2
status_code_retries = 2
status_code_retry_delay = 0.2
{cloud}
"""

CACHE = "[imageapi_cache]\ndirectory = {turn_folder}/cache\nmax_size = {cache_size}"

_SQL = "[imageapi_registry_sql]\nconnection = {database}\nread_timeout = 10"
REGISTRIES = {
    "file": "[imageapi_registry_file]\ndirectory = {folder}/records",
    "http": "[imageapi_registry_http]\nendpoint = {url}/records\nsuffix = .json",
    "swift": "[imageapi_registry_swift]\ncontainer = records\nauth_section = cloud",
    "postgresql": _SQL,
    "mariadb": _SQL,
}
DATABASES: Mapping[str, Callable[[Path], DatabaseServer]] = {
    "postgresql": PostgreSQL,
    "mariadb": MariaDB,
}

# With SSI nginx does not know the length when it begins to send a file.
NO_LENGTHS = "location /ssi/ { alias FOLDER/images/; ssi on; ssi_types *; }"


class Turn(NamedTuple):
    """The settings of one storm.

    :ivar registry: where the records are.
    :ivar door: what runs imageapi: ``serve`` over ASGI, or ``gunicorn`` over WSGI.
    :ivar verify: how often data is verified.
    :ivar is_cached: whether the data of all stores but ``file`` is cached.
    """

    registry: str
    door: str
    verify: str
    is_cached: bool


#: The second turn of each pair differs from the first in everything.
TURNS: Sequence[Turn] = (
    Turn("file", "serve", "once", is_cached=True),
    Turn("swift", "gunicorn", "always", is_cached=False),
    Turn("postgresql", "serve", "always", is_cached=False),
    Turn("http", "gunicorn", "once", is_cached=True),
    Turn("mariadb", "serve", "once", is_cached=False),
    Turn("file", "gunicorn", "always", is_cached=True),
    Turn("swift", "serve", "always", is_cached=True),
    Turn("postgresql", "gunicorn", "once", is_cached=False),
    Turn("http", "serve", "once", is_cached=False),
    Turn("mariadb", "gunicorn", "always", is_cached=True),
)


class SoakServers:
    """The upstreams, and their folders."""

    def __init__(self, folder: Path) -> None:
        """:param folder: empty."""
        self.folder = folder
        self.web = folder / "web"
        names = ("images", "records", "web/images", "web/records", "nginx", "swift", "ceph")
        for name in names:
            (folder / name).mkdir(parents=True)
        server = NO_LENGTHS.replace("FOLDER", str(self.web))
        # Otherwise the kernel holds a whole image, and killing the server breaks no download.
        listen = " sndbuf=65536"
        self.nginx = Nginx(self.web, folder / "nginx", server=server, listen=listen)
        self.url = f"http://127.0.0.1:{self.nginx.port}"
        self.swift = Swift(folder / "swift")
        self.databases: dict[str, DatabaseServer] = {}
        self._opened = ExitStack()

    def start(self) -> None:
        kinds = ("account", "container", "object", "proxy")
        with ThreadPoolExecutor(len(kinds) + 1) as pool:
            starting = [pool.submit(self.swift.start, kind) for kind in kinds]
            starting.append(pool.submit(self.nginx.start))
            self.ceph = self._opened.enter_context(running_ceph(self.folder / "ceph"))
            for one in starting:
                one.result()
        self.pool = self.ceph.new_pool()
        with closing(self.swift.client()) as client:
            for container in ("records", "images", "bucket"):
                client.put_container(container)

    def close(self) -> None:
        self._opened.close()
        self.nginx.close()
        self.swift.close()
        for database in self.databases.values():
            database.close()

    @contextmanager
    def records(self, turn: Turn, name: str) -> Iterator[tuple[Keeper, str]]:
        """The records of a turn, and the URL of their database if they are in one.

        :param name: of the turn.
        """
        if turn.registry in DATABASES:
            url = self._database(turn.registry).create_database(f"glance_{name}")
            with closing(Rows(url)) as rows:
                yield rows, url
        elif turn.registry == "file":
            yield Folder(self.folder / "records"), ""
        elif turn.registry == "http":
            yield WebFolder(self.web / "records", f"{self.url}/records"), ""
        else:
            yield Container(self.swift, "records"), ""

    def _database(self, kind: str) -> DatabaseServer:
        """A running server; a turn that needs it first starts it."""
        if kind not in self.databases:
            folder = self.folder / kind
            folder.mkdir()
            self.databases[kind] = DATABASES[kind](folder)
            self.databases[kind].start()
        return self.databases[kind]

    def ports(self) -> set[int]:
        """The ports of all upstreams to which imageapi may keep connections."""
        databases = {one.port for one in self.databases.values()}
        return {self.nginx.port, self.swift.ports["proxy"], *databases}

    def configuration(self, turn: Turn, turn_folder: Path, chunk_size: int, database: str) -> str:
        given = {
            "folder": self.folder,
            "turn_folder": turn_folder,
            "url": self.url,
            "database": database,
            "cache_size": CACHE_SIZE,
        }
        return CONFIG.format(
            **given,
            registry="sql" if turn.registry in DATABASES else turn.registry,
            registry_section=REGISTRIES[turn.registry].format(**given),
            verify=turn.verify,
            chunk_size=chunk_size,
            cache=CACHE.format(**given) if turn.is_cached else "",
            pool_size=POOL_SIZE,
            s3=option_lines(s3_options(self.swift)),
            cloud=option_lines(v1_options(self.swift)),
            ceph_conf=self.ceph.config,
            ceph_user=USER,
            ceph_pool=self.pool,
        )


@contextmanager
def running_world(folder: Path) -> Iterator[SoakServers]:
    """Run the upstreams in an empty folder."""
    made = SoakServers(folder)
    try:
        made.start()
        yield made
    finally:
        made.close()


#: The server on which each registry depends, besides imageapi itself.
SERVERS_OF_REGISTRIES: Mapping[str, tuple[str, ...]] = {
    "file": (),
    "http": ("nginx",),
    "swift": ("swift",),
    "postgresql": ("database",),
    "mariadb": ("database",),
}


def images_of(world: SoakServers, turn: Turn, name: str, around: Surroundings) -> list[Changing]:
    """An image of each kind.

    :param name: the beginning of their ids.
    """
    files = Folder(world.folder / "images")
    web = WebFolder(world.web / "images", f"{world.url}/images")
    unsized = WebFolder(world.web / "images", f"{world.url}/ssi")
    objects = Container(world.swift, "images")
    bucket = Container(world.swift, "bucket", "s3")
    snapshots = Snapshots(world.ceph, world.pool)
    always = turn.verify == "always"
    of_file = Rewriting.ALWAYS if always else Rewriting.KEEPS_NAME
    of_web = Rewriting.ALWAYS if always else Rewriting.NEVER

    def about(kind: str, *servers: str, **more: bool) -> About:
        image_id = f"{name}-{kind.replace(', ', '-').replace(' ', '-')}"
        servers = ("imageapi", *SERVERS_OF_REGISTRIES[turn.registry], *servers)
        return About(image_id, kind, servers, around, **more)

    return [
        Tidy(about("file"), files),
        # Two, because most faults are theirs, and each takes seconds.
        UntidyFile(about("file, untidy"), files, of_file),
        UntidyFile(about("file, untidy 2"), files, of_file),
        Tidy(about("http", "nginx"), web),
        Tidy(about("http, then file", "nginx"), web, files),
        Tidy(about("http, no length", "nginx", is_sized=False), unsized),
        UntidyFile(about("http, untidy", "nginx"), web, of_web),
        Tidy(about("swift", "swift"), objects),
        Untidy(about("swift, untidy", "swift"), objects),
        UntidyDynamic(about("swift, dynamic", "swift"), objects),
        Tidy(about("s3", "swift"), bucket),
        UntidyS3(about("s3, untidy", "swift"), bucket),
        Tidy(about("rbd", "ceph", keeps_readers=False), snapshots),
    ]
