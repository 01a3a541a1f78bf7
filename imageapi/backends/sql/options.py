# SPDX-License-Identifier: Apache-2.0
"""The options of a registry in a database, under the names that oslo.db uses."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from oslo_config import cfg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from imageapi.backends.http_client.options import CONNECT_TIMEOUT, Seconds
from imageapi.backends.sql.locations import Encryption
from imageapi.errors import ConfigurationError

#: The databases that are supported, and the driver that a URL without one gets.
DRIVERS = {"sqlite": "pysqlite", "postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}

OPTIONS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "connection",
        secret=True,
        required=True,
        help="The URL of Glance's database, as in glance-api.conf. Examples:"
        " postgresql://USER:PASSWORD@HOST/glance, mysql+pymysql://USER:PASSWORD@HOST/glance,"
        " sqlite:////var/lib/glance/glance.sqlite. The drivers are psycopg, PyMySQL and sqlite3.",
    ),
    cfg.StrOpt(
        "slave_connection",
        secret=True,
        help="The URL of a replica from which requests read. Commands use connection.",
    ),
    cfg.IntOpt(
        "max_pool_size",
        default=5,
        min=1,
        help="How many connections are kept open, in each process.",
    ),
    cfg.IntOpt(
        "max_overflow",
        default=50,
        min=0,
        help="How many more connections may be open while requests need them.",
    ),
    cfg.Opt(
        "pool_timeout",
        type=Seconds(),
        default=5.0,
        help="For how many seconds a request waits for a free connection. Then it gets 503.",
    ),
    cfg.IntOpt(
        "connection_recycle_time",
        default=3600,
        min=1,
        help="After how many seconds a connection is replaced. It must be less than the time"
        " after which the database closes idle connections.",
    ),
    CONNECT_TIMEOUT,
    cfg.Opt(
        "read_timeout",
        type=Seconds(),
        default=10.0,
        help="Timeout in seconds for the answer of the database to a query.",
    ),
    cfg.StrOpt(
        "metadata_encryption_key",
        secret=True,
        help="The key with which Glance encrypts locations, as in glance-api.conf. It has 16, 24 or"
        " 32 bytes. Needs the package cryptography.",
    ),
)


class Settings(NamedTuple):
    """The values of a section.

    :ivar url: of the database.
    :ivar replica: of the database from which requests read; None if that is ``url``.
    """

    url: URL
    replica: URL | None
    max_pool_size: int
    max_overflow: int
    pool_timeout: float
    recycle_seconds: int
    connect_timeout: float
    read_timeout: float
    encryption: Encryption

    @classmethod
    def of(cls, conf: cfg.ConfigOpts, group: str) -> Self:
        """Read a section.

        :raises ConfigurationError: a value is invalid.
        """
        section = conf[group]
        return cls(
            url=_url("connection", section.connection),
            replica=section.slave_connection and _url("slave_connection", section.slave_connection),
            max_pool_size=section.max_pool_size,
            max_overflow=section.max_overflow,
            pool_timeout=section.pool_timeout,
            recycle_seconds=section.connection_recycle_time,
            connect_timeout=section.connect_timeout,
            read_timeout=section.read_timeout,
            encryption=Encryption(section.metadata_encryption_key),
        )


def _url(option: str, text: str) -> URL:
    """Return a URL with one of our drivers.  Messages do not show it: it has a password."""
    try:
        url = make_url(text)
        # Else the end of a password is a part of the host's name, which drivers show.
        is_url = "@" not in (url.host or "")
    except (ArgumentError, ValueError):
        is_url = False
    if not is_url:
        form = "postgresql://USER:PASSWORD@HOST/glance"
        mend = "in the password, write @ as %40"
        raise ConfigurationError([f"{option}: not a URL of a database, such as {form}; {mend}"])
    dialect, _, _ = url.drivername.partition("+")
    if dialect not in DRIVERS:
        known = ", ".join(sorted(DRIVERS))
        raise ConfigurationError([f"{option}: a {dialect!r:.40} database; supported are {known}"])
    # Glance's own file may name another driver for the same database.
    return url.set(drivername=f"{dialect}+{DRIVERS[dialect]}")
