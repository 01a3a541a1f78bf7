# SPDX-License-Identifier: Apache-2.0
"""Servers in front of an upstream: imageapi with its cache, and those it is held against."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import servers
from benchmarks.image_ids import LARGE_ID, SMALL_ID
from benchmarks.upstreams import (
    HTTP,
    SWIFT,
    Side,
    http_configuration,
    ours,
    upload_to_swift,
)
from tests.deployment import Deployment
from tests.functional.openstack import ENVIRONMENTS, call, open_glance
from tests.functional.servers import free_port, running
from tests.functional.swift import Swift, running_swift, swift_configuration, v1_options

CACHED = "imageapi"
UNCACHED = "without cache"
NGINX_CACHE = "nginx"
VARNISH = "Varnish"
GLANCE_CACHE = "Glance"

_VARNISH = ENVIRONMENTS / "varnish" / "usr"

_VCL = """\
vcl 4.1;
backend default {{
    .host = "127.0.0.1";
    .port = "{port}";
    .first_byte_timeout = 300s;
    .between_bytes_timeout = 300s;
}}
"""

_PATCH = {"Content-Type": "application/openstack-images-v2.1-json-patch"}


class Upstream(NamedTuple):
    """A server whose data others keep.

    :ivar side: the server itself, and where it has the two images.
    :ivar configuration: of an imageapi with registry and store there.
    :ivar sent: the bytes of the large image's bodies that its log has.
    """

    side: Side
    configuration: str
    sent: Callable[[], int]


@contextmanager
def upstreams(deployment: Deployment, folder: Path) -> Iterator[Mapping[str, Upstream]]:
    """Run an nginx and a Swift with the images of a deployment until the block ends."""
    with ExitStack() as stack:
        images = "/images/{}"
        nginx = stack.enter_context(servers.nginx(deployment.folder, folder, logs=True))
        (folder / "swift").mkdir()
        swift = stack.enter_context(running_swift(folder / "swift"))
        upload_to_swift(swift, deployment)
        yield {
            HTTP: Upstream(
                _side(nginx, images),
                http_configuration(nginx.port),
                lambda: _sent_by_nginx(folder / "nginx" / "sent.log"),
            ),
            SWIFT: Upstream(
                _side(_proxy(swift), f"/v1/AUTH_acme{images}"),
                swift_configuration(v1_options(swift), policy="rules"),
                lambda: _sent_by_swift(folder / "swift" / "proxy.log"),
            ),
        }


def _proxy(swift: Swift) -> servers.Served:
    return servers.Served(swift.ports["proxy"], swift.processes["proxy"].pid)


def _side(server: servers.Served, template: str) -> Side:
    return Side(server, template.format(SMALL_ID), template.format(LARGE_ID))


def _sent_by_nginx(log: Path) -> int:
    lines = (line.split() for line in log.read_text().splitlines())
    return sum(int(count) for path, count in lines if path.endswith(LARGE_ID))


def _sent_by_swift(log: Path) -> int:
    """Fields of a line: client, remote, time, method, path, protocol, status, ..."""
    total = 0
    for line in log.read_text().splitlines():
        _, separator, after = line.partition(f" GET /v1/AUTH_acme/images/{LARGE_ID} ")
        if separator:
            # protocol, status, referer, user agent, token, bytes received, bytes sent
            count = after.split()[6]
            total += int(count) if count.isdigit() else 0
    return total


@contextmanager
def _nginx(upstream: Upstream, folder: Path, _: Deployment) -> Iterator[Side]:
    port = upstream.side.server.port
    with servers.nginx(folder, folder, upstream=port, caches=True) as served:
        yield upstream.side._replace(server=served)


@contextmanager
def _varnish(upstream: Upstream, folder: Path, _: Deployment) -> Iterator[Side]:
    port = free_port()
    vcl = folder / "default.vcl"
    vcl.write_text(_VCL.format(port=upstream.side.server.port))
    (libraries,) = _VARNISH.glob("lib/*/libvarnishapi.so.3")
    command = [str(_VARNISH / "sbin" / "varnishd"), "-F", "-j", "none", "-T", "none"]
    command += ["-n", str(folder / "state"), "-a", f"127.0.0.1:{port}", "-f", str(vcl)]
    command += ["-s", "malloc,1g", "-t", "3600"]
    environ = {"LD_LIBRARY_PATH": str(libraries.parent)}
    with running(command, port, folder / "output.log", environ) as process:
        yield upstream.side._replace(server=servers.Served(port, process.pid))


@contextmanager
def _glance(upstream: Upstream, folder: Path, deployment: Deployment) -> Iterator[Side]:
    port = free_port()
    with open_glance(folder, port, upstream=upstream.side.server.port) as pid:
        side = upstream.side
        for image_id, path in ((SMALL_ID, side.small), (LARGE_ID, side.large)):
            location = f"http://127.0.0.1:{side.server.port}{path}"
            data = deployment.data_path(image_id)
            _add_to_glance(f"http://127.0.0.1:{port}/v2/images", image_id, location, data)
        yield _side(servers.Served(port, pid), "/v2/images/{}/file")


def _digest(data: Path, algorithm: str) -> str:
    with data.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _add_to_glance(url: str, image_id: str, location: str, data: Path) -> None:
    formats = {"disk_format": "raw", "container_format": "bare"}
    call(url, body={"id": image_id, "visibility": "public", **formats})
    # Glance's cache verifies by the checksum, which Glance needs beside the other hash.
    hashes = {"checksum": _digest(data, "md5"), "os_hash_algo": "sha512"}
    hashes["os_hash_value"] = _digest(data, "sha512")
    value = {"url": location, "metadata": {}, "validation_data": hashes}
    change = [{"op": "add", "path": "/locations/-", "value": value}]
    call(f"{url}/{image_id}", body=change, method="PATCH", **_PATCH)


@contextmanager
def _imageapi(upstream: Upstream, folder: Path, _: Deployment) -> Iterator[Side]:
    with _serving(upstream.configuration, folder) as side:
        yield side


@contextmanager
def _imageapi_with_cache(upstream: Upstream, folder: Path, _: Deployment) -> Iterator[Side]:
    with _serving(with_cache(upstream.configuration, folder / "cache"), folder) as side:
        yield side


def with_cache(configuration: str, folder: Path) -> str:
    """A configuration with a cache in a folder, which is made."""
    folder.mkdir()
    return f"{configuration}\n[imageapi_cache]\ndirectory = {folder}\n"


@contextmanager
def _serving(configuration: str, folder: Path) -> Iterator[Side]:
    config_file = folder / "imageapi.conf"
    config_file.write_text(configuration)
    with servers.imageapi(servers.GUNICORN, config_file) as served:
        yield ours(served)


Start = Callable[[Upstream, Path, Deployment], AbstractContextManager[Side]]

#: Each starts with an empty cache, in an empty folder.
CONTESTANTS: Mapping[str, Start] = {
    CACHED: _imageapi_with_cache,
    VARNISH: _varnish,
    NGINX_CACHE: _nginx,
    GLANCE_CACHE: _glance,
    UNCACHED: _imageapi,
}
