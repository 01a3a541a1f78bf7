# SPDX-License-Identifier: Apache-2.0
"""Other servers with the same two images: imageapi is held against them, and asks them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from benchmarks import load, servers
from benchmarks.image_ids import LARGE_ID, SMALL_ID, path_of
from tests.deployment import Deployment
from tests.functional.openstack import call, open_glance
from tests.functional.s3 import ACCESS_KEY, s3_options
from tests.functional.servers import free_port
from tests.functional.swift import KEY, Swift, running_swift, swift_configuration, v1_options

FILE, HTTP, SWIFT, S3 = "file", "http", "swift", "s3"

NGINX = "nginx"
NGINX_PROXY = "nginx as proxy"
SWIFT_ITSELF = "Swift"
S3_ITSELF = "Swift's S3"
GLANCE = "Glance"

_HTTP = """\
[imageapi]
registry = http
stores = http
[imageapi_registry_http]
endpoint = http://127.0.0.1:{port}/registry
suffix = .json
[imageapi_store_http]
allowed_urls = http://127.0.0.1:{port}/images
url_template = http://127.0.0.1:{port}/images/{{image_id}}
# As for files and Swift, a version is verified once.
trust_validators = true
"""


_S3 = """\
[imageapi]
stores = s3
[imageapi_registry_file]
directory = {registry}
[imageapi_store_s3]
bucket = images
{options}
"""


class Side(NamedTuple):
    """A server, and where it has the two images."""

    server: servers.Served
    small: str
    large: str


class Upstreams(NamedTuple):
    """All of them, at work.

    :ivar configs: of an imageapi, by the kind of its backends.
    :ivar straight: the others, by their names here.
    :ivar s3_config: of an imageapi whose records are in files, and whose data is in S3.
    :ivar s3_straight: that S3, by URLs that are signed already.
    """

    configs: Mapping[str, Path]
    straight: Mapping[str, Side]
    s3_config: Path
    s3_straight: Side


@contextmanager
def running(deployment: Deployment, folder: Path) -> Iterator[Upstreams]:
    """Run them until the block ends.

    :param deployment: has both images.
    :param folder: for what they write.
    """
    with ExitStack() as stack:
        below = deployment.folder
        nginx = stack.enter_context(servers.nginx(below, folder))
        proxy = stack.enter_context(servers.nginx(below, folder, upstream=nginx.port))
        swift = stack.enter_context(running_swift(_made(folder / "swift")))
        upload_to_swift(swift, deployment)
        configs = {FILE: deployment.config_file, HTTP: folder / "http.conf"}
        configs[HTTP].write_text(http_configuration(nginx.port))
        configs[SWIFT] = folder / "swift.conf"
        configs[SWIFT].write_text(swift_configuration(v1_options(swift), policy="rules"))
        straight = {
            name: _side(server, "/images/{}")
            for name, server in ((NGINX, nginx), (NGINX_PROXY, proxy))
        }
        swift_proxy = servers.Served(swift.ports["proxy"], swift.processes["proxy"].pid)
        straight[SWIFT_ITSELF] = _side(swift_proxy, "/v1/AUTH_acme/images/{}")
        straight[GLANCE] = stack.enter_context(_glance(_made(folder / "glance"), deployment))
        s3_config = folder / "s3.conf"
        s3_config.write_text(_s3_configuration(swift, deployment))
        s3_straight = Side(swift_proxy, *map(_signed, (SMALL_ID, LARGE_ID)))
        yield Upstreams(configs, straight, s3_config, s3_straight)


def ours(server: servers.Served) -> Side:
    """An imageapi."""
    return Side(server, path_of(SMALL_ID), path_of(LARGE_ID))


def _side(server: servers.Served, template: str) -> Side:
    return Side(server, template.format(SMALL_ID), template.format(LARGE_ID))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def http_configuration(port: int) -> str:
    """Of an imageapi whose registry and store are on the nginx at a port."""
    return _HTTP.format(port=port)


def _s3_configuration(swift: Swift, deployment: Deployment) -> str:
    lines = [f"{name} = {value}" for name, value in s3_options(swift).items()]
    return _S3.format(registry=deployment.registry, options="\n".join(lines))


def _signed(image_id: str) -> str:
    """The path and the query by which everybody may read an image's object for a day."""
    request = AWSRequest(method="GET", url=f"http://{load.HOST}/images/{image_id}")
    keys = ReadOnlyCredentials(ACCESS_KEY, KEY, None)
    S3SigV4QueryAuth(keys, "s3", "us-east-1", expires=24 * 3600).add_auth(request)
    return str(request.url).removeprefix(f"http://{load.HOST}")


def upload_to_swift(swift: Swift, deployment: Deployment) -> None:
    """Put both images of a deployment there."""
    with closing(swift.client()) as client:
        for container in ("records", "images"):
            # Everybody may read it, so that what asks straight needs no token.
            client.put_container(container, headers={"X-Container-Read": ".r:*"})
        for image_id in (SMALL_ID, LARGE_ID):
            record = deployment.record_path(image_id).read_text()
            client.put_object("records", f"{image_id}.json", record)
            with deployment.data_path(image_id).open("rb") as data:
                client.put_object("images", image_id, data)


@contextmanager
def _glance(folder: Path, deployment: Deployment) -> Iterator[Side]:
    port = free_port()
    with open_glance(folder, port) as pid:
        url = f"http://127.0.0.1:{port}/v2/images"
        for image_id in (SMALL_ID, LARGE_ID):
            formats = {"disk_format": "raw", "container_format": "bare"}
            call(url, body={"id": image_id, "visibility": "public", **formats})
            # All at once in memory: Glance takes it from there as it comes.
            data = deployment.data_path(image_id).read_bytes()
            call(f"{url}/{image_id}/file", body=data, method="PUT")
        yield _side(servers.Served(port, pid), "/v2/images/{}/file")
