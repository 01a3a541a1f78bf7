# SPDX-License-Identifier: Apache-2.0
"""The options of every section that has an upstream: timeouts, TLS, proxy, token."""

import math
import re
import ssl
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

import urllib3
from oslo_config import cfg, types
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from imageapi.caller import Caller
from imageapi.errors import ConfigurationError

_TOKEN = re.compile(r"[\x21-\x7e]+")


class Seconds(types.Float):
    """The type of an option that is a time in seconds."""

    def __init__(self, min: float = 0.001) -> None:  # noqa: A002 - as Float has it
        # Systems cannot wait for arbitrarily long times; nobody needs more than a day.
        super().__init__(min=min, max=86400)

    def __call__(self, value: Any) -> Any:
        seconds = super().__call__(value)
        # A NaN passes the checks of minimum and maximum.
        if seconds is not None and math.isnan(seconds):
            raise ValueError("must be a number")
        return seconds


#: For a section whose requests may carry the caller's token.
AUTH = cfg.StrOpt(
    "auth",
    default="none",
    choices=[
        ("none", "Send no token."),
        ("caller", "Send the caller's own token as X-Auth-Token."),
    ],
    help="Whose token is sent to the upstream server. With caller, an upstream 401 or 403 means"
    " 'not found' in the registry and 'forbidden' in the store.",
)

CONNECT_TIMEOUT = cfg.Opt(
    "connect_timeout",
    type=Seconds(),
    default=5.0,
    help="Timeout in seconds for each step of connecting: each address of the host, the proxy,"
    " TLS.",
)

POOL_SIZE = cfg.IntOpt(
    "pool_size",
    default=16,
    min=1,
    help="How many connections to one host are kept open. Set it to the number of threads of"
    " the server that runs imageapi. More connections are opened when needed, and closed after"
    " use.",
)

#: For a registry that can answer from memory.
RECORD_TTL = cfg.Opt(
    "record_ttl",
    type=Seconds(min=0),
    default=0.0,
    help="For how many seconds a process uses a record that it has read, without asking the"
    " upstream server again. An image that was removed, deactivated, hidden or changed is served"
    " as before for so much longer. 0 means that the server is asked at each request.",
)

#: The options of each section that has an upstream.
OPTIONS = (
    CONNECT_TIMEOUT,
    cfg.Opt(
        "read_timeout",
        type=Seconds(),
        default=30.0,
        help="Timeout in seconds for a whole response with a record, its headers included; for"
        " the headers of any other response; and each time for the next bytes of data.",
    ),
    POOL_SIZE,
    cfg.StrOpt(
        "ca_file",
        help="PEM file of the CA certificates that verify upstream servers. If unset, those of"
        " the system are used.",
    ),
    cfg.StrOpt(
        "cert_file", help="PEM file of the client certificate, for servers that request one."
    ),
    cfg.StrOpt("key_file", help="PEM file of the private key, if not in cert_file."),
    cfg.StrOpt(
        "proxy",
        secret=True,
        help="The URL of a proxy. Environment variables such as http_proxy are ignored.",
    ),
)


class UpstreamSettings(NamedTuple):
    """The settings of an `Upstream`.

    :ivar connect_timeout, read_timeout: seconds.
    :ivar pool_size: number of connections to one host that are kept open.
    :ivar proxy: the arguments of urllib3's ProxyManager.
    """

    connect_timeout: float
    read_timeout: float
    pool_size: int
    ssl_context: ssl.SSLContext
    proxy: dict[str, Any] | None = None

    def __repr__(self) -> str:
        # The proxy's headers contain its password.
        return "<UpstreamSettings>"

    @classmethod
    def of(cls, conf: cfg.ConfigOpts, group: str) -> Self:
        """Read the `OPTIONS` of a section, and the certificate files that they name.

        :raises ConfigurationError: a value or a file is invalid.
        """
        section = conf[group]
        context = tls_context(section, "ca_file", "cert_file", "key_file")
        return cls(
            section.connect_timeout,
            section.read_timeout,
            section.pool_size,
            context,
            _proxy(section.proxy, context),
        )


def tls_context(section: cfg.ConfigOpts.GroupAttr, ca: str, cert: str, key: str) -> ssl.SSLContext:
    """Create the TLS context, with trusted CAs and our client certificate.

    :param ca, cert, key: the names of the section's options for the files of the CA
        certificates, of the client certificate, and of its key.
    :raises ConfigurationError: one of the files cannot be used.
    """
    if section[key] and not section[cert]:
        raise ConfigurationError([f"{key}: set {cert} too"])
    contents = {
        ca: "CA certificates in PEM",
        cert: f"a certificate in PEM, and its unencrypted key unless {key} names the key's file",
        key: f"the unencrypted key of {cert} in PEM",
    }
    for option in contents:
        _refuse_unreadable(option, section[option], contents[option])
    option = ca
    try:
        context = ssl.create_default_context(cafile=section[ca] or None)
        if section[cert]:
            option = cert
            # Without a password OpenSSL would ask the terminal for one.
            context.load_cert_chain(section[cert], section[key] or None, password="")  # nosec B106
    except ssl.SSLError:
        files = section[option]
        if option == cert and section[key]:
            files += f" with {key} = {section[key]}"
        problem = f"{option}: {files}: not usable; it must hold {contents[option]}"
        raise ConfigurationError([problem]) from None
    return context


def _refuse_unreadable(option: str, path: str | None, content: str) -> None:
    """Refuse a file that cannot be read.

    :param content: what it must hold.
    """
    if not path:
        return
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        problem = f"{option}: {path}: {error.strerror}; it must hold {content}"
        raise ConfigurationError([problem]) from None
    except ValueError:
        raise ConfigurationError([f"{option}: must not contain a NUL character"]) from None


def _proxy(url: str | None, context: ssl.SSLContext) -> dict[str, Any] | None:
    if not url:
        return None
    wrong = ConfigurationError(["proxy: must be a URL such as http://proxy.example.com:3128"])
    try:
        parts = parse_url(url)
    except HTTPError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.host or parts.path not in (None, "/"):
        raise wrong
    try:
        headers = urllib3.make_headers(proxy_basic_auth=unquote(parts.auth)) if parts.auth else {}
    except ValueError:
        # The exception's text repeats a part of the password.
        raise wrong from None
    return {
        "proxy_url": str(parts._replace(auth=None)),
        "proxy_headers": headers,
        "proxy_ssl_context": context if parts.scheme == "https" else None,
    }


def token_headers(auth: str, caller: Caller) -> dict[str, str]:
    """Return the headers that the option `AUTH` adds to a request."""
    # A token that cannot be a header value is ignored.
    if auth == "caller" and caller.token and _TOKEN.fullmatch(caller.token):
        return {"X-Auth-Token": caller.token}
    return {}
