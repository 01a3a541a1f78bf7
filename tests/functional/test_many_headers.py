# SPDX-License-Identifier: Apache-2.0
"""An image whose headers are as large as they can be goes through the recipes for proxies."""

import pytest

from tests.deployment import Deployment, get
from tests.functional.http_client import begin
from tests.functional.wsgi_servers import SERVERS, Server, behind_nginx, uwsgi
from tests.header_lines import bytes_of_lines

# Of all X-Image-Meta headers but the URI: docs/wire.md, get-left-out.
MOST = 49_152

RECIPES = {
    "serve": SERVERS["serve"],
    "nginx-serve": Server("nginx before serve", behind_nginx(SERVERS["serve"].start)),
    "uwsgi": SERVERS["uwsgi"],
    "nginx-uwsgi": SERVERS["nginx-uwsgi"],
}


def meta_lines(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The X-Image-Meta headers but the URI."""
    pairs = [(name.lower(), value) for name, value in headers]
    return [pair for pair in pairs if pair[0].startswith("x-image-meta-") and pair[0][13:] != "uri"]


def add_largest(deployment: Deployment) -> list[tuple[str, str]]:
    """Add an image with as many properties, and as many bytes, as are sent; its headers."""
    fields = {"name": "n" * 1000, "owner": "o" * 32, "min_ram": 1, "min_disk": 1}
    properties = {f"key{number:02}": "x" * 600 for number in range(70)}
    api = deployment.api()
    for _ in range(2):
        deployment.add("largest", b"data", **fields, properties=properties)
        lines = meta_lines(get(api, "/v1/images/largest").headerlist)
        properties["key69"] += "x" * (MOST - bytes_of_lines(lines))
    api.close()
    assert (bytes_of_lines(lines), len(properties)) == (MOST, 70)
    return lines


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_all_headers_arrive(deployment: Deployment, recipe: str, method: str) -> None:
    expected = add_largest(deployment)
    with RECIPES[recipe].start(deployment) as server, server.connection() as client:
        response = begin(client, "/v1/images/largest", method)
        assert response.status == 200
        assert response.read() == (b"data" if method == "GET" else b"")
        assert meta_lines(response.getheaders()) == expected


def test_what_is_sent_beside_them_fits_too(deployment: Deployment) -> None:
    """uWSGI takes 64 KiB for all; the URI has the client's Host, of which it takes some KiB."""
    add_largest(deployment)
    with uwsgi()(deployment) as server, server.connection() as client:
        response = begin(client, "/v1/images/largest", Host="h" * 3000)
        assert (response.status, response.read()) == (200, b"data")
        assert len(response.getheader("X-Image-Meta-Uri") or "") > 3000


def test_proxy_settings_do_nothing_for_uwsgi(deployment: Deployment) -> None:
    """Why the recipe for uWSGI is a file of its own."""
    deployment.add("ten", b"data", properties={f"key{number}": "x" * 1000 for number in range(10)})
    buffers = ("uwsgi_buffers", "uwsgi_buffer_size", "uwsgi_busy_buffers_size")
    old = [(f"{name} ", f"{name.replace('uwsgi', 'proxy')} ") for name in buffers]
    start = behind_nginx(uwsgi(("http-socket =", "socket =")), *old, example="nginx-uwsgi.conf")
    with start(deployment) as server, server.connection() as client:
        assert begin(client, "/v1/images/ten").status == 502
    with SERVERS["nginx-uwsgi"].start(deployment) as server, server.connection() as client:
        assert begin(client, "/v1/images/ten").status == 200
