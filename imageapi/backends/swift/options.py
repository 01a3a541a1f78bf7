# SPDX-License-Identifier: Apache-2.0
"""The options of Swift's sections: those of keystoneauth1, with our defaults, and our own.

The options of the connection to Swift are in the section that ``auth_section``
names, or else in the backend's own section.
"""

import importlib.metadata
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from keystoneauth1 import loading
from keystoneauth1.exceptions import AuthPluginException, NoMatchingPlugin
from keystoneauth1.loading.base import PLUGIN_NAMESPACE
from oslo_config import cfg, types

from imageapi.backends.http_client.options import (
    CONNECT_TIMEOUT,
    POOL_SIZE,
    Seconds,
    UpstreamSettings,
    tls_context,
)
from imageapi.backends.http_client.urls import Url
from imageapi.errors import ConfigurationError

#: The plugins that most operators need.
AUTH_TYPE = "v3password, v3applicationcredential, v1password (tempauth), none"

#: The same for a message.
AUTH_TYPES = "v3applicationcredential, v3password, v1password or none"

# The options of keystoneauth's sessions and adapters that are supported, with our
# defaults.  With keystoneauth's own defaults there is no retry and no timeout.
_DEFAULTS: Mapping[str, object] = {
    "cafile": None,
    "certfile": None,
    "keyfile": None,
    "insecure": False,
    "tls_ciphers": None,
    "tls_min_version": None,
    "timeout": 30.0,
    "service_type": "object-store",
    "service_name": None,
    "valid_interfaces": ["public"],
    "region_name": None,
    "endpoint_override": None,
    "connect_retries": 3,
    "connect_retry_delay": None,
    "status_code_retries": 3,
    "status_code_retry_delay": None,
    "retriable_status_codes": [503, 507],
}

# keystoneauth accepts any number.
_TYPES = {
    "timeout": Seconds(),
    "connect_retries": types.Integer(min=0),
    "connect_retry_delay": Seconds(min=0),
    "status_code_retries": types.Integer(min=0),
    "status_code_retry_delay": Seconds(min=0),
}

# Help texts that replace misleading ones of keystoneauth.
_HELP = {
    "timeout": "Timeout in seconds for a whole response of a login or with a record, its headers"
    " included; for the headers of any other response; and each time for the next bytes of data.",
    "retriable_status_codes": "HTTP status codes after which a request is retried.",
    "insecure": "Do not verify the certificates of servers.",
    "endpoint_override": "The URL of the account, such as"
    " https://swift.example.com/v1/AUTH_images, used instead of the one in the service catalog."
    " %(project_id)s is replaced by the project's id.",
    "connect_retries": "How often a request is retried after its connection was refused, or"
    " closed before a response.",
    "status_code_retries": "How often a request is retried after a status in"
    " retriable_status_codes. It is not retried if Retry-After asks for more than 10 seconds.",
    "connect_retry_delay": "Seconds before a retry after a failed connection. By default 0.5,"
    " doubled at each retry. Never more than 10.",
    "status_code_retry_delay": "Seconds before a retry after a status in retriable_status_codes."
    " By default 0.5, doubled at each retry. Never more than 10.",
}

_TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def connection_options() -> Sequence[cfg.Opt]:
    """Return the options of the connection to Swift, except those of an ``auth_type``."""
    auth_type, _ = loading.get_auth_common_conf_options()
    auth_type.help = f"The keystoneauth plugin to log in with: {AUTH_TYPE}, or any other."
    known = [
        *loading.get_session_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]
    options = [option for option in known if option.dest in _DEFAULTS]
    for option in options:
        option.default = _DEFAULTS[option.dest]
        option.type = _TYPES.get(option.dest, option.type)
        option.help = _HELP.get(option.dest, option.help)
    return [auth_type, *options, CONNECT_TIMEOUT, POOL_SIZE]


def backend_options(objects: str) -> Sequence[cfg.Opt]:
    """Return the options that are always in a backend's own section.

    :param objects: what its objects are and how they are named, for the help.
    """
    _, auth_section = loading.get_auth_common_conf_options()
    auth_section.help = (
        "The section from which auth_type and all other options of the login and of the"
        " connection are read, instead of this one. Do not set these options in this section too."
        " Backends with the same auth_section share one login."
    )
    return [
        cfg.StrOpt("container", required=True, help=f"The container of the {objects}."),
        cfg.StrOpt("object_prefix", default="", help="Prefix of the object names."),
        auth_section,
    ]


def dependent_options(conf: cfg.ConfigOpts, group: str) -> Mapping[str, Sequence[cfg.Opt]]:
    """Return the options that depend on the values of others, by section.

    :raises ConfigurationError: ``auth_type`` is not set, or not the name of a plugin.
    """
    section = section_of(conf, group)
    options = connection_options()
    try:
        conf.register_opts(options, group=section)
    except cfg.Error as error:
        message = f"its options clash with those of the application: {error}"
        raise ConfigurationError([f"auth_section: [{section}]: {message}"]) from None
    name = conf[section].auth_type
    if not name:
        raise ConfigurationError([f"auth_type: is not set; set it to {AUTH_TYPES}"], section)
    try:
        # Not by its own search: that logs another warning for an unknown name.
        if name not in importlib.metadata.entry_points(group=PLUGIN_NAMESPACE).names:
            raise NoMatchingPlugin(name)
        plugin = loading.get_auth_plugin_conf_options(name)
    except AuthPluginException:
        message = f"no keystoneauth plugin named {name!r} is installed; set it to {AUTH_TYPES}"
        raise ConfigurationError([f"auth_type: {message}"], section) from None
    return {section: [*options, *plugin]}


def sample_options() -> Sequence[cfg.Opt]:
    """Return the options of an ``auth_section``, with those of the usual plugins."""
    by_name: dict[str, cfg.Opt] = {option.dest: option for option in connection_options()}
    for name in ("v3password", "v3applicationcredential", "v1password"):
        for option in loading.get_auth_plugin_conf_options(name):
            by_name.setdefault(option.dest, option)
    return list(by_name.values())


def section_of(conf: cfg.ConfigOpts, group: str) -> str:
    """Return the section of a backend's connection to Swift."""
    return conf[group].auth_section or group


def container_of(conf: cfg.ConfigOpts, group: str) -> tuple[str, str]:
    """Return the container of a backend, and the prefix of its object names.

    :raises ConfigurationError: one of them is not a valid name.
    """
    container, beginning = conf[group].container, conf[group].object_prefix
    if "/" in container:
        raise ConfigurationError(
            [f"container: must be a name without a slash, not {container!r:.100}"]
        )
    for option, name in (("container", container), ("object_prefix", f"{beginning}x")):
        try:
            path_of(container, name)
        except ValueError as error:
            raise ConfigurationError([f"{option}: {error}"]) from None
    return container, beginning


def path_of(container: str, name: str = "") -> str:
    """Return the path after an account's URL, for a container or an object in it.

    :raises ValueError: no URL can have this name.
    """
    path = f"/{quote(container, safe='')}"
    if name:
        path += f"/{quote(name, safe='/')}"
    # Normalized and checked like every other URL of a request.
    return Url.parse(f"http://x{path}").path


def refuse_misplaced(conf: cfg.ConfigOpts, group: str) -> None:
    """Refuse options in a section where they would have no effect.

    :raises ConfigurationError: connection options are set next to ``auth_section``.
    """
    section = section_of(conf, group)
    if section == group:
        return
    problems = []
    for option in connection_options():
        found = conf.get_location(option.dest, group)
        if found is not None and found.location.is_user_controlled:
            problems.append(
                f"{option.dest}: is read from [{section}], which auth_section names: set it there"
            )
    if problems:
        raise ConfigurationError(problems)


def upstream_settings(conf: cfg.ConfigOpts, group: str) -> UpstreamSettings:
    """Return the settings of the connection to Swift.

    :raises ConfigurationError: a certificate or ``tls_ciphers`` cannot be used.
    """
    section = conf[section_of(conf, group)]
    context = tls_context(section, "cafile", "certfile", "keyfile")
    if section.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if section.tls_min_version:
        context.minimum_version = _TLS_VERSIONS[section.tls_min_version]
    if section.tls_ciphers:
        try:
            context.set_ciphers(section.tls_ciphers)
        except ssl.SSLError:
            raise ConfigurationError(
                [f"tls_ciphers: OpenSSL knows none of {section.tls_ciphers!r:.100}"]
            ) from None
    return UpstreamSettings(section.connect_timeout, section.timeout, section.pool_size, context)
