# SPDX-License-Identifier: Apache-2.0
"""What decides who may know of an image, apart from the rest of its record."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """Of an image whose record is otherwise malformed; as it is, nobody but an admin's.

    :ivar members: ids of the projects that share the image.
    """

    is_public: bool = False
    is_deleted: bool = False
    owner: str | None = None
    members: frozenset[str] = frozenset()
