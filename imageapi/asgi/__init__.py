# SPDX-License-Identifier: Apache-2.0
"""The entry points for ASGI: an application and a middleware."""

from imageapi.asgi.application import Application, Middleware, application

__all__ = ["Application", "Middleware", "application"]
