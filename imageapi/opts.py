# SPDX-License-Identifier: Apache-2.0
"""The list of all shipped options, for oslo.config's tools."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from oslo_config import cfg

from imageapi.config import cache, serve_options
from imageapi.config.options import CORE, GROUP

Sections: TypeAlias = Sequence[tuple[str, Sequence[cfg.Opt]]]


def list_opts() -> Sections:
    """Return all shipped options by section.

    They are for oslo-config-generator, and for applications that set options in code
    before `imageapi.ImageAPI` registers them.
    """
    # Imported here, so that a service of files does not load an HTTP client.
    from imageapi.backends.file.registry import FileRegistry
    from imageapi.backends.file.store import FileStore
    from imageapi.backends.http.registry import HTTPRegistry
    from imageapi.backends.http.store import HTTPStore
    from imageapi.backends.rbd.store import RBDStore
    from imageapi.policy.rules import RulesPolicy

    return [
        (GROUP, CORE),
        (serve_options.GROUP, serve_options.OPTIONS),
        (cache.GROUP, cache.OPTIONS),
        ("imageapi_registry_file", FileRegistry.options()),
        ("imageapi_registry_http", HTTPRegistry.options()),
        ("imageapi_store_file", FileStore.options()),
        ("imageapi_store_http", HTTPStore.options()),
        ("imageapi_store_rbd", RBDStore.options()),
        *_of_extra(_s3_opts),
        *_of_extra(_swift_opts),
        *_of_extra(_sql_opts),
        ("imageapi_policy_rules", RulesPolicy.options()),
        *_of_extra(_notifications_opts),
    ]


def _of_extra(load: Callable[[], Sections]) -> Sections:
    """Return the options of an extra; none if one of its packages is not installed."""
    try:
        return load()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("imageapi"):
            raise
        return []


def _s3_opts() -> Sections:
    from imageapi.backends.s3.store import S3Store

    return [("imageapi_store_s3", S3Store.options())]


def _swift_opts() -> Sections:
    from imageapi.backends.swift import options, registry, store

    return [
        ("imageapi_registry_swift", registry.OWN_OPTIONS),
        ("imageapi_store_swift", store.OWN_OPTIONS),
        # An example of a section that auth_section can name.
        ("imageapi_swift", options.sample_options()),
    ]


def _sql_opts() -> Sections:
    from imageapi.backends.sql.options import OPTIONS

    return [("imageapi_registry_sql", OPTIONS)]


def _notifications_opts() -> Sections:
    """Return our options; those of the broker are oslo.messaging's, which lists them itself."""
    from imageapi.events.notifications import NotificationsEvents

    return [("imageapi_events_notifications", NotificationsEvents.options())]
