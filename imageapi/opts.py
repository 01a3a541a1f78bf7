# SPDX-License-Identifier: Apache-2.0
"""The list of all shipped options, for oslo.config's tools."""

from collections.abc import Sequence

from oslo_config import cfg

from imageapi.config import cache, serve_options
from imageapi.config.options import CORE, GROUP


def list_opts() -> Sequence[tuple[str, Sequence[cfg.Opt]]]:
    """Return all shipped options by section.

    They are for oslo-config-generator, and for applications that set options in code
    before `imageapi.ImageAPI` registers them.
    """
    # Imported here, so that a service of files does not load an HTTP client.
    from imageapi.backends.file.registry import FileRegistry
    from imageapi.backends.file.store import FileStore
    from imageapi.backends.http.registry import HTTPRegistry
    from imageapi.backends.http.store import HTTPStore
    from imageapi.policy.rules import RulesPolicy

    return [
        (GROUP, CORE),
        (serve_options.GROUP, serve_options.OPTIONS),
        (cache.GROUP, cache.OPTIONS),
        ("imageapi_registry_file", FileRegistry.options()),
        ("imageapi_registry_http", HTTPRegistry.options()),
        ("imageapi_store_file", FileStore.options()),
        ("imageapi_store_http", HTTPStore.options()),
        *_swift_opts(),
        ("imageapi_policy_rules", RulesPolicy.options()),
        *_notifications_opts(),
    ]


def _swift_opts() -> Sequence[tuple[str, Sequence[cfg.Opt]]]:
    """Return the options of the extra ``swift``; none if it is not installed."""
    try:
        from imageapi.backends.swift import options, registry, store
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("imageapi"):
            raise
        return []
    return [
        ("imageapi_registry_swift", registry.OWN_OPTIONS),
        ("imageapi_store_swift", store.OWN_OPTIONS),
        # An example of a section that auth_section can name.
        ("imageapi_swift", options.sample_options()),
    ]


def _notifications_opts() -> Sequence[tuple[str, Sequence[cfg.Opt]]]:
    """Return the options of the extra ``notifications``; none if it is not installed.

    The options of the broker are oslo.messaging's, which lists them under its own name.
    """
    try:
        from imageapi.events.notifications import NotificationsEvents
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("imageapi"):
            raise
        return []
    return [("imageapi_events_notifications", NotificationsEvents.options())]
