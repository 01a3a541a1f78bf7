# SPDX-License-Identifier: Apache-2.0
"""The part of an image's record that decides who may know of the image."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """The values that decide who may know of an image, even if its record is malformed.

    With the default values, only an admin may know of it.

    :ivar members: ids of the projects that share the image.
    """

    is_public: bool = False
    is_deleted: bool = False
    owner: str | None = None
    members: frozenset[str] = frozenset()
