# SPDX-License-Identifier: Apache-2.0
"""Who may know of an image, as Glance's own database layer decides it."""

from imageapi.backends.sql.rows import ImageRows
from imageapi.caller import Caller


def may_get(rows: ImageRows, caller: Caller) -> bool:
    """Whether a caller may know of an image whose id the caller knows.

    A member counts only while the image is shared, but then in each status: a project may
    look at what it has not accepted yet.
    """
    if caller.is_admin:
        return True
    if rows.is_deleted:
        return False
    owner, project = rows.fields["owner"], caller.project_id
    if owner is None or rows.visibility in ("public", "community"):
        return True
    if project is None:
        return False
    return project == owner or (rows.visibility == "shared" and project in rows.members)
