# SPDX-License-Identifier: Apache-2.0
"""The table of docs/production.md: the outcome of each download with each server.

``python -m tests.functional.server_table`` runs all downloads and writes the table.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.functional.downloads import DOWNLOADS, large_images
from tests.functional.wsgi_servers import SERVERS
from tests.paths import ROOT

PAGE = ROOT / "docs" / "production.md"

_HEAD = ["server", *DOWNLOADS]


def cells() -> dict[str, dict[str, str]]:
    """The outcomes in the page, by the server's title and the column's head."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [line.strip("| ").split(" | ") for line in lines]
    start = rows.index(_HEAD)
    table = rows[start + 2 : start + 2 + len(SERVERS)]
    return {row[0]: dict(zip(DOWNLOADS, row[1:], strict=True)) for row in table}


def render(word_of: Callable[[str, str], str]) -> str:
    """The table; ``word_of`` gives the outcome of a server and a download."""
    rows = [_HEAD, ["---"] * len(_HEAD)]
    for name, server in SERVERS.items():
        rows.append([server.title, *(word_of(name, download) for download in DOWNLOADS)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> None:
    words: dict[tuple[str, str], str] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        large_images(Path(folder) / "images") as deployment,
    ):
        for name, server in SERVERS.items():
            with server.start(deployment) as running:
                for download, tried in DOWNLOADS.items():
                    words[name, download] = tried(running, deployment)
    text = PAGE.read_text()
    start = text.index("| server | ")
    end = text.index("\n\n", start) + 1
    PAGE.write_text(text[:start] + render(lambda *cell: words[cell]) + text[end:])


if __name__ == "__main__":
    main()
