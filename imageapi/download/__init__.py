# SPDX-License-Identifier: Apache-2.0
"""From an image's locations to the bytes that are sent."""
