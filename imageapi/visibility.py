# SPDX-License-Identifier: Apache-2.0
"""The part of an image's record that decides who may know of the image."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """Who may know of an image whose record is otherwise malformed.

    With the default values, only an admin may know of the image.

    :ivar members: ids of the projects that share the image.
    """

    is_public: bool = False
    is_deleted: bool = False
    owner: str | None = None
    members: frozenset[str] = frozenset()
