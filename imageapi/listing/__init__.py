# SPDX-License-Identifier: Apache-2.0
"""Lists of images and of members, as far as the caller may know of them."""
