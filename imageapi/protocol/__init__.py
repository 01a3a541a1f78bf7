# SPDX-License-Identifier: Apache-2.0
"""HTTP and the Image API v1, without I/O."""
