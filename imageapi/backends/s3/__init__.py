# SPDX-License-Identifier: Apache-2.0
"""Data in Amazon S3, or in a server that speaks its protocol."""
