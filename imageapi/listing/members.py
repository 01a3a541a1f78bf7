# SPDX-License-Identifier: Apache-2.0
"""Which members of an image a caller may know of."""

from imageapi.caller import Caller
from imageapi.image import Image


def members_for(image: Image, caller: Caller) -> list[str]:
    """Return the ids of an image's members that the caller may know of, sorted.

    Its owner and an admin see all of them, and a member sees itself.

    :param image: one that the caller may know of.
    """
    project = caller.project_id
    if caller.is_admin or (project and project == image.owner):
        return sorted(image.members)
    return [project] if project and project in image.members else []
