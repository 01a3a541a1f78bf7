# SPDX-License-Identifier: Apache-2.0
"""Faults of all kinds at once, while clients download: see `storm`."""
