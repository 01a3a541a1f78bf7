# SPDX-License-Identifier: Apache-2.0
"""Every download on every server, and the table of docs/production.md."""

from collections.abc import Iterator

import pytest

from tests.deployment import Deployment
from tests.functional import server_table
from tests.functional.downloads import ACCEPTED, DOWNLOADS, large_images
from tests.functional.servers import Running
from tests.functional.wsgi_servers import SERVERS

#: Servers that end a body normally although its iterator raised. No WSGI application can
#: prevent this. A client that counts bytes still notices it.
CANNOT_BREAK_OFF = {"uwsgi", "uwsgi-http", "nginx-uwsgi", "granian", "wsgiref"}


@pytest.fixture(scope="module")
def large_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with large_images(tmp_path_factory.mktemp("servers") / "images") as deployment:
        yield deployment


@pytest.fixture(scope="module", params=SERVERS)
def server(
    request: pytest.FixtureRequest, large_deployment: Deployment
) -> Iterator[tuple[str, Running]]:
    with SERVERS[request.param].start(large_deployment) as running:
        yield request.param, running


@pytest.mark.wire("data-ends-early")
@pytest.mark.wire("data-checksum")
@pytest.mark.parametrize("download", DOWNLOADS)
def test_download(server: tuple[str, Running], large_deployment: Deployment, download: str) -> None:
    name, running = server
    word = DOWNLOADS[download](running, large_deployment)
    if name in CANNOT_BREAK_OFF and download == "data of unknown size that ends early":
        assert word == "looks complete"
    else:
        assert word in ACCEPTED[download]
    told = server_table.cells()[SERVERS[name].title][download]
    assert word == told, "python -m tests.functional.server_table writes the page anew"


def test_the_page_has_the_table_of_these_servers() -> None:
    cells = server_table.cells()
    titles = {name: server.title for name, server in SERVERS.items()}
    table = server_table.render(lambda name, download: cells[titles[name]][download])
    assert table in server_table.PAGE.read_text()
