# SPDX-License-Identifier: Apache-2.0
"""The HTTP client that the backends ``http``, ``s3`` and ``swift`` share."""
