# SPDX-License-Identifier: Apache-2.0
"""A real Swift: a proxy, and an account, a container and an object server, on one device."""

import getpass
import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import swiftclient

from tests.functional.openstack import ENVIRONMENTS
from tests.functional.servers import free_port, running

SWIFT_BIN = ENVIRONMENTS / "swift" / "bin"
# Programs and modules for the Python of Swift's environment.
PROGRAMS = Path(__file__).parents[1] / "servers" / "swift"
KEY = "s3cret-key"
# The containers of records, of data, and of the segments of data.
CONTAINERS = ("records", "images", "images_segments")

DEFAULT = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
user = {user}
workers = 0
log_address = {folder}/no-log
devices = {folder}/srv
mount_check = false
fallocate_reserve = 0
"""

# Otherwise a proxy would not ask its only object server for a minute after that was down.
PROXY = """\
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck proxy-logging cache bulk tempurl {auth} slo dlo \
proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
conn_timeout = 30
node_timeout = 120
recoverable_node_timeout = 120
error_suppression_interval = 0
[filter:cache]
paste.filter_factory = swift_cache:factory
[filter:tempauth]
use = egg:swift#tempauth
user_acme_reader = {key} .admin
user_acme_writer = {key}
[filter:s3api]
use = egg:swift#s3api
min_segment_size = 1
[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = swift
password = swift
project_name = service
user_domain_id = default
project_domain_id = default
interface = public
delay_auth_decision = true
cache = swift.cache
token_cache_time = -1
[filter:keystoneauth]
use = egg:swift#keystoneauth
operator_roles = admin, member
{filters}
"""

FILTERS = ("catch_errors", "gatekeeper", "healthcheck", "proxy_logging", "bulk", "tempurl")

BACKEND = """\
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
[{kind}-server]
recon_cache_path = {folder}/recon
"""


class Swift:
    """A running Swift, whose servers a test may stop and start again."""

    def __init__(self, folder: Path, keystone: str = "") -> None:
        """Write the configurations; `start` starts the servers.

        :param folder: empty.
        :param keystone: the URL of the Keystone that knows the users; if it is empty, tempauth
            knows them.
        """
        self.folder = folder
        self.devices = folder / "srv" / "d1"
        self.devices.mkdir(parents=True)
        self.ports = {kind: free_port() for kind in ("proxy", "account", "container", "object")}
        self.url = f"http://127.0.0.1:{self.ports['proxy']}"
        self.auth_url = f"{self.url}/auth/v1.0"
        self.account_url = f"{self.url}/v1/AUTH_acme"
        self._keystone = keystone
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._running: dict[str, ExitStack] = {}
        self._configure()

    def _configure(self) -> None:
        (self.folder / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_prefix = a\nswift_hash_path_suffix = b\n"
            "[storage-policy:0]\nname = only\ndefault = yes\n"
        )
        given = {"folder": self.folder, "user": getpass.getuser(), "key": KEY}
        given |= {"keystone": self._keystone}
        given["auth"] = "authtoken keystoneauth" if self._keystone else "s3api tempauth"
        given["filters"] = "\n".join(
            f"[filter:{name.replace('proxy_logging', 'proxy-logging')}]\nuse = egg:swift#{name}"
            for name in (*FILTERS, "slo", "dlo")
        )
        for kind, port in self.ports.items():
            template = DEFAULT + (PROXY if kind == "proxy" else BACKEND)
            text = template.format(kind=kind, port=port, **given)
            (self.folder / f"{kind}-server.conf").write_text(text)
        backends = [str(self.ports[kind]) for kind in ("account", "container", "object")]
        rings = PROGRAMS / "swift_rings.py"
        command = [str(SWIFT_BIN / "python"), str(rings), str(self.folder), *backends]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def start(self, kind: str) -> None:
        """Start one server: proxy, account, container or object."""
        config = self.folder / f"{kind}-server.conf"
        command = [str(SWIFT_BIN / f"swift-{kind}-server"), str(config)]
        environ = {
            "PYTHONPATH": str(PROGRAMS),
            "SWIFT_TEST_TOKENS_REVOKED": str(self.folder / "revoked"),
            "EVENTLET_NO_GREENDNS": "yes",
        }
        stack = ExitStack()
        log = self.folder / f"{kind}.log"
        self.processes[kind] = stack.enter_context(
            running([*command, "--verbose"], self.ports[kind], log, environ, self.folder)
        )
        self._running[kind] = stack

    def stop(self, kind: str) -> None:
        """Kill one server; all its connections break."""
        self.processes.pop(kind).kill()
        self._running.pop(kind).close()

    def close(self) -> None:
        """Stop all servers that run."""
        for kind in list(self._running):
            self.stop(kind)

    def revoke_tokens(self) -> None:
        """Make the proxy forget all tokens of tempauth at its next request."""
        (self.folder / "revoked").touch()

    def client(self) -> swiftclient.Connection:
        """A client that logs in as tempauth's user."""
        return swiftclient.Connection(self.auth_url, "acme:reader", KEY, retries=0)

    def data_file(self, account: str, container: str, name: str) -> Path:
        """The file with the bytes of an object."""
        path = f"/{account}/{container}/{name}"
        digest = hashlib.md5(f"a{path}b".encode(), usedforsecurity=False).hexdigest()
        (found,) = (self.devices / "objects").glob(f"*/*/{digest}/*.data")
        return found


CONFIG = """\
[imageapi]
registry = swift
stores = swift
policy = {policy}
[imageapi_registry_swift]
container = records
auth_section = cloud
[imageapi_store_swift]
container = images
auth_section = cloud
{store}
[cloud]
{cloud}
"""


def swift_configuration(cloud: Mapping[str, Any], store: str = "", policy: str = "visible") -> str:
    """A configuration whose registry and store are in one Swift.

    :param cloud: the options by which it is reached.
    :param store: more lines of the store's section.
    """
    lines = "\n".join(f"{name} = {value}" for name, value in cloud.items())
    return CONFIG.format(cloud=lines, store=store, policy=policy)


def v1_options(swift: Swift) -> dict[str, str]:
    """The options by which a section logs in as tempauth's user."""
    return {
        "auth_type": "v1password",
        "auth_url": swift.auth_url,
        "username": "acme:reader",
        "password": KEY,
    }


@contextmanager
def running_swift(folder: Path, keystone: str = "") -> Iterator[Swift]:
    """Run a Swift in an empty folder."""
    swift = Swift(folder, keystone)
    try:
        for kind in ("account", "container", "object", "proxy"):
            swift.start(kind)
        yield swift
    finally:
        swift.close()


def upload_slo(
    client: swiftclient.Connection, container: str, name: str, segments: list[bytes]
) -> list[str]:
    """Upload a static large object as ``swift`` does; returns the names of its segments."""
    names = [f"{name}/slo/{number:08}" for number in range(len(segments))]
    client.put_container(f"{container}_segments")
    manifest = []
    for segment, data in zip(names, segments, strict=True):
        etag = client.put_object(f"{container}_segments", segment, data)
        path = f"/{container}_segments/{segment}"
        manifest.append({"path": path, "etag": etag, "size_bytes": len(data)})
    body = json.dumps(manifest)
    client.put_object(container, name, body, query_string="multipart-manifest=put")
    return names


def upload_dlo(
    client: swiftclient.Connection, container: str, name: str, segments: list[bytes]
) -> list[str]:
    """Upload a dynamic large object; returns the names of its segments."""
    names = [f"{name}/dlo/{number:08}" for number in range(len(segments))]
    client.put_container(f"{container}_segments")
    for segment, data in zip(names, segments, strict=True):
        client.put_object(f"{container}_segments", segment, data)
    prefix = f"{container}_segments/{name}/dlo/"
    client.put_object(container, name, b"", headers={"X-Object-Manifest": quote(prefix)})
    return names


def object_paths(swift: Swift) -> list[str]:
    """The containers and names of all objects in `CONTAINERS`."""
    with closing(swift.client()) as client:
        return [
            f"{container}/{entry['name']}"
            for container in CONTAINERS
            for entry in client.get_container(container)[1]
        ]
