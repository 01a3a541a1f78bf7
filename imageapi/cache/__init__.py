# SPDX-License-Identifier: Apache-2.0
"""Verified data of other stores, in a folder of this machine."""
