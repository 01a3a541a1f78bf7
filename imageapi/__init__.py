# SPDX-License-Identifier: Apache-2.0
"""Serve images over the OpenStack Image API v1 from inside any WSGI application."""

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
