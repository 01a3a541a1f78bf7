# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.backends.sql.schema import IMAGE_COLUMNS, Schema


@pytest.mark.parametrize(
    ("later", "has_visibility"), [(["is_public"], False), (["visibility", "os_hidden"], True)]
)
def test_only_columns_that_are_there_are_read(later: list[str], has_visibility: bool) -> None:
    schema = Schema([*IMAGE_COLUMNS, *later, "something_new"])
    assert schema.names == (*IMAGE_COLUMNS, *later)
    assert schema.has_visibility is has_visibility
    statement = str(schema.record)
    assert later[0] in statement
    assert "something_new" not in statement


def test_a_record_is_one_statement() -> None:
    assert str(Schema([*IMAGE_COLUMNS, "visibility"]).record).count("UNION ALL") == 3
