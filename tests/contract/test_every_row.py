# SPDX-License-Identifier: Apache-2.0
"""Every row of docs/wire.md has a test that names it, and no test names another."""

import re

from tests.paths import ROOT


def test_rows_and_tests_name_each_other() -> None:
    page = (ROOT / "docs" / "wire.md").read_text()
    rows = set(re.findall(r"\(([a-z0-9]+(?:-[a-z0-9]+)+)\)", page))
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r'mark\.wire\("([^"]+)"\)', tests))
    assert rows - named == set()
    assert named - rows == set()
    assert len(rows) > 50
