# SPDX-License-Identifier: Apache-2.0
"""The store of images in Ceph RBD."""
