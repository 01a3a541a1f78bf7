# SPDX-License-Identifier: Apache-2.0
"""Serve images over the OpenStack Image API v1 from inside any WSGI or ASGI application."""

import importlib
from typing import TYPE_CHECKING

from imageapi.caller import Caller
from imageapi.errors import ConfigurationError, ImageAPIError

if TYPE_CHECKING:
    from imageapi.api import ImageAPI
    from imageapi.config.files import load_config
    from imageapi.wsgi import ImageAPIMiddleware

__all__ = [
    "ImageAPI",
    "ImageAPIMiddleware",
    "load_config",
    "Caller",
    "ImageAPIError",
    "ConfigurationError",
]

__version__: str

#: The public names whose modules need WebOb and oslo.config.  Each is imported when it is used
#: first, because the import takes long, and a plugin or ``imageapi --help`` does not need it.
_HOMES = {
    "ImageAPI": "imageapi.api",
    "ImageAPIMiddleware": "imageapi.wsgi",
    "load_config": "imageapi.config.files",
}

# Type checkers must not see this function: they would accept every name as an attribute.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what is needed now, or read the version from the installed package."""
        if name in _HOMES:
            value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
            return value
        if name in ("api", "config", "wsgi"):
            # ``import imageapi`` is enough to use these modules, without an import of their own.
            return importlib.import_module(f"{__name__}.{name}")
        if name == "__version__":
            from importlib import metadata

            return metadata.version("imageapi")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
