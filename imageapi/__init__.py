# SPDX-License-Identifier: Apache-2.0
"""Serve images over the OpenStack Image API v1 from inside any WSGI or ASGI application."""

import importlib.metadata
from typing import TYPE_CHECKING

from imageapi.api import ImageAPI
from imageapi.caller import Caller
from imageapi.config.files import load_config
from imageapi.errors import ConfigurationError, ImageAPIError
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

# Type checkers must not see this function: they would accept every name as an attribute.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        """Read the version from the metadata of the installed package, when it is needed."""
        if name == "__version__":
            return importlib.metadata.version("imageapi")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
