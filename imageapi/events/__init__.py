# SPDX-License-Identifier: Apache-2.0
"""Backends that are told about every request: metrics, notifications, an operator's own."""
