# SPDX-License-Identifier: Apache-2.0
"""Who may get an image; tests/functional compares it with a real Glance."""

import pytest

from imageapi.backends.sql.access import may_get
from imageapi.backends.sql.rows import ImageRows
from imageapi.caller import ANONYMOUS, Caller

ADMIN = Caller(user_id="a", is_admin=True)
OWNER, MEMBER, OTHER = (Caller(user_id="u", project_id=name) for name in ("p", "m", "o"))


@pytest.mark.parametrize(
    ("visibility", "owner", "deleted", "allowed"),
    [
        ("public", "p", 0, [ADMIN, OWNER, MEMBER, OTHER, ANONYMOUS]),
        ("community", "p", 0, [ADMIN, OWNER, MEMBER, OTHER, ANONYMOUS]),
        ("shared", "p", 0, [ADMIN, OWNER, MEMBER]),
        # Its members stay in the database, and do not count.
        ("private", "p", 0, [ADMIN, OWNER]),
        ("private", None, 0, [ADMIN, OWNER, MEMBER, OTHER, ANONYMOUS]),
        ("public", "p", 1, [ADMIN]),
        ("public", "p", "odd", [ADMIN]),
        ("odd", "p", 0, [ADMIN, OWNER]),
    ],
)
def test_who_may_get_an_image(
    visibility: str, owner: str | None, deleted: object, allowed: list[Caller]
) -> None:
    fields = {"visibility": visibility, "owner": owner, "deleted": deleted}
    rows = ImageRows(fields, members=["m"])
    callers = [ADMIN, OWNER, MEMBER, OTHER, ANONYMOUS]
    assert [caller for caller in callers if may_get(rows, caller)] == allowed


@pytest.mark.parametrize(("is_public", "member"), [(1, True), (0, True), (True, True)])
def test_who_may_get_an_image_of_an_old_glance(is_public: object, member: bool) -> None:
    rows = ImageRows({"is_public": is_public, "owner": "p", "deleted": False}, members=["m"])
    assert may_get(rows, MEMBER) is member
    assert may_get(rows, ANONYMOUS) is (is_public == 1)
