# SPDX-License-Identifier: Apache-2.0
"""The table of docs/frameworks.md.

``python -m tests.functional.framework_table`` runs all checks and writes it into the page.
"""

import http.client
import importlib.metadata
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.functional.framework_checks import COLUMNS
from tests.functional.frameworks import ROWS, Bench, Row
from tests.paths import ROOT

PAGE = ROOT / "docs" / "frameworks.md"

_SERVERS = ("gunicorn", "uvicorn")


class Outcomes:
    """The outcomes of the checks, one for each cell of the table."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._outcomes: dict[tuple[Row, str], str] = {}

    def check(self, row: Row, column: str) -> None:
        """Run the check of a cell.

        :raises AssertionError: the check fails.
        """
        self._outcomes[row, column] = "no"
        COLUMNS[column](self._bench, self._bench.serve(row.example), row)
        self._outcomes[row, column] = "yes"

    def outcome(self, row: Row, column: str) -> str:
        """``yes`` or ``no``; runs the check if it was not run yet."""
        if (row, column) not in self._outcomes:
            with suppress(AssertionError, OSError, http.client.HTTPException):
                self.check(row, column)
        return self._outcomes[row, column]

    def table(self) -> str:
        """The table in Markdown."""
        lines = ["| framework | version | imageapi is | " + " | ".join(COLUMNS) + " |"]
        lines.append("|---" * (3 + len(COLUMNS)) + "|")
        for row in ROWS:
            version = _version_of(row.distribution) if row.distribution else ""
            cells = [self.outcome(row, column) for column in COLUMNS]
            lines.append(f"| {row.framework} | {version} | {row.way} | {' | '.join(cells)} |")
        served_by = ", ".join(f"{name} {_version_of(name)}" for name in _SERVERS)
        return "\n".join([*lines, "", f"Tried with {served_by}.", ""])


def _version_of(distribution: str) -> str:
    return importlib.metadata.version(distribution)


_TABLE = re.compile(r"(?<=<!-- the table -->\n).*?(?=<!-- its end -->)", re.DOTALL)


def table_of_the_page() -> str:
    """The table that docs/frameworks.md has."""
    (table,) = _TABLE.findall(PAGE.read_text())
    return str(table)


def main() -> None:
    """Write the table into the page."""
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        table = Outcomes(bench).table()
    PAGE.write_text(_TABLE.sub(lambda _: table, PAGE.read_text()))


if __name__ == "__main__":
    main()
