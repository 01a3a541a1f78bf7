# SPDX-License-Identifier: Apache-2.0
"""Suites for testing backends, and fakes for testing embedding applications."""
