# SPDX-License-Identifier: Apache-2.0
"""Finds options of Glance in configuration files, where they would have no effect.

Only the files of the commands are searched.  An application has options of its own in
the same sections.
"""

import glob
import os
from collections.abc import Iterator, Mapping

from oslo_config import cfg

from imageapi.config.validation import names_in
from imageapi.errors import ConfigurationError

# Sections and options whose policy would silently not apply.
_POLICIES = (("oslo_policy", "policy_file"), ("oslo_policy", "policy_dirs"))
_OLD_POLICY = ("DEFAULT", "policy_file")

# Its properties would silently be shown.
_PROTECTIONS = "property_protection_file"

_LOG = "set [imageapi_serve] log_file"
_JOURNAL = "imageapi serve logs to standard error, and systemd passes it to the journal"
_BIND = "set [imageapi_serve] bind"
_DIRECTORY = "set [imageapi_store_file] directory"
_STORES = "set [imageapi] stores"
_REGISTRY = "set [imageapi] registry"
_MIDDLEWARE = "imageapi serve knows no callers: run imageapi behind keystonemiddleware instead"

# What to do instead, by section and option.
_ADVICE: Mapping[str, Mapping[str, str]] = {
    "DEFAULT": {
        "admin_role": "set [imageapi] admin_roles",
        "bind_host": _BIND,
        "bind_port": _BIND,
        "ca_file": "imageapi serve requests no certificates of clients",
        "cert_file": "set [imageapi_serve] certificate",
        "chunk_size": "set [imageapi] chunk_size",
        "debug": "start imageapi --debug",
        "default_store": _STORES,
        "enabled_backends": _STORES,
        "filesystem_store_datadir": _DIRECTORY,
        "key_file": "set [imageapi_serve] private_key",
        "log_config_append": _LOG,
        "log_dir": _LOG,
        "log_file": _LOG,
        "property_protection_rule_format": "set [imageapi] property_protection_rule_format",
        "public_endpoint": "set [imageapi] public_endpoint",
        "registry_host": _REGISTRY,
        "registry_port": _REGISTRY,
        "use_journal": _JOURNAL,
        "use_syslog": _JOURNAL,
        "verbose": "start imageapi --debug",
        "workers": "set [imageapi_serve] workers",
    },
    "glance_store": {
        "default_backend": _STORES,
        "default_store": _STORES,
        "filesystem_store_datadir": _DIRECTORY,
        "filesystem_store_datadirs": "set [imageapi] stores, and a directory for each of them",
        "http_proxy_information": "set [imageapi_store_http] proxy",
        "https_ca_certificates_file": "set [imageapi_store_http] ca_file",
        "s3_store_access_key": "set access_key in [imageapi_store_s3]",
        "s3_store_bucket": "set [imageapi_store_s3] bucket",
        "s3_store_host": "set [imageapi_store_s3] endpoint_url",
        "s3_store_secret_key": "set secret_key in [imageapi_store_s3]",  # nosec B105 - a hint
        "stores": _STORES,
        "swift_store_auth_address": "set auth_url in [imageapi_store_swift]",
        "swift_store_container": "set [imageapi_store_swift] container",
        "swift_store_key": "set password in [imageapi_store_swift]",
        "swift_store_user": "set username in [imageapi_store_swift]",
    },
    "paste_deploy": {
        "config_file": _MIDDLEWARE,
        "flavor": _MIDDLEWARE,
    },
    "database": {
        "connection": "imageapi has no database: copy the images with imageapi import",
    },
}

_KEYSTONE = "keystone_authtoken"


def refuse_policy(conf: cfg.ConfigOpts) -> None:
    """Refuse a policy or property protections of Glance, which would silently not apply.

    They are only logged, by `unused`, if a section of imageapi has such a file too.

    :raises ConfigurationError: there are some.
    """
    files = list(_sections_of(conf))
    ours = [item for _, sections in files for item in sections.items()]
    problems: list[str] = []
    if not any(
        section.startswith("imageapi_policy_") and "policy_file" in names for section, names in ours
    ):
        problems.extend(line for one in files for line in _policies_in(*one))
    if not any(section == "imageapi" and _PROTECTIONS in names for section, names in ours):
        problems.extend(line for one in files for line in _protections_in(*one))
    if problems:
        raise ConfigurationError(problems)


def unused(conf: cfg.ConfigOpts) -> Iterator[str]:
    """Yield a sentence for each option of Glance that has no effect."""
    for path, sections in _sections_of(conf):
        yield from _policies_in(path, sections)
        yield from _protections_in(path, sections)
        for section, advice in _ADVICE.items():
            for name in sections.get(section, ()):
                if name in advice:
                    yield f"[{section}] {name} in {path} is not used: {advice[name]}"
        if _KEYSTONE in sections:
            yield f"[{_KEYSTONE}] in {path} is not used: {_MIDDLEWARE}"


def _policies_in(path: str, sections: Mapping[str, list[str]]) -> Iterator[str]:
    for section, name in (*_POLICIES, _OLD_POLICY):
        if name in sections.get(section, ()):
            advice = "set [imageapi_policy_rules] policy_file"
            yield f"[{section}] {name} in {path} is not used: {advice}"


def _protections_in(path: str, sections: Mapping[str, list[str]]) -> Iterator[str]:
    if _PROTECTIONS in sections.get("DEFAULT", ()):
        yield f"[DEFAULT] {_PROTECTIONS} in {path} is not used: set [imageapi] {_PROTECTIONS}"


def _sections_of(conf: cfg.ConfigOpts) -> Iterator[tuple[str, Mapping[str, list[str]]]]:
    """Yield each configuration file, with the names of its options by section."""
    paths = list(conf.config_file or ())
    for folder in conf.config_dir or ():
        paths.extend(sorted(glob.glob(os.path.join(glob.escape(folder), "*.conf"))))
    for path in paths:
        found = names_in(path)
        yield (
            path,
            {
                section: [name.replace("-", "_") for name in names]
                for section, names in found.items()
            },
        )
