# SPDX-License-Identifier: Apache-2.0
"""All faults together, and no complete wrong body: see `storm`."""
