# SPDX-License-Identifier: Apache-2.0
"""A real Keystone and a real Glance, each in an environment of its own."""

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from tests.functional.servers import free_port, running
from tests.paths import ROOT

ENVIRONMENTS = ROOT / ".servers"
# A module for the Python of Glance's environment.
PROGRAMS = ROOT / "tests" / "servers" / "glance"

KEYSTONE = """\
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.db
[fernet_tokens]
key_repository = {folder}/fernet
[fernet_receipts]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/credential
[cache]
enabled = false
[identity]
password_hash_rounds = 4
"""

# Keystone parses the arguments of its process, so gunicorn gets none.
GUNICORN = """\
wsgi_app = "keystone.wsgi.api:application"
bind = "127.0.0.1:{port}"
worker_class = "gthread"
threads = 4
control_socket_disable = True
"""

GLANCE = """\
[DEFAULT]
log_file = {folder}/glance.log
{options}
enabled_backends = {backends}
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[database]
connection = {database}
[oslo_concurrency]
lock_path = {folder}/locks
[oslo_policy]
{policy}
[paste_deploy]
flavor = {flavor}
config_file = {paste}
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = glance
password = glance
project_name = service
user_domain_id = default
project_domain_id = default
interface = public
"""

CACHE = """\
image_cache_dir = {folder}/cache
worker_self_reference_url = http://127.0.0.1:{port}
show_multiple_locations = true
"""

FROM_LOOPBACK = """
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [{port}]
"""


def call(
    url: str, token: str = "", body: Any = None, method: str | None = None, **headers: str
) -> Any:
    """Send a request to an OpenStack API. The body is JSON or bytes; returns JSON or bytes."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    given = {"X-Auth-Token": token, "Content-Type": kind}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, given, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        answered = response.read()
    return json.loads(answered) if answered.startswith((b"{", b"[")) else answered


@dataclass
class Keystone:
    """A running Keystone."""

    url: str
    folder: Path
    admin: str = ""

    def token(self, user: str, project: str) -> str:
        """Log in; every password is the user's name."""
        who = {"name": user, "password": user, "domain": {"id": "default"}}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": who}},
                "scope": {"project": {"name": project, "domain": {"id": "default"}}},
            }
        }
        request = urllib.request.Request(
            f"{self.url}/auth/tokens",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            token: str = response.headers["X-Subject-Token"]
            return token

    def revoke(self, token: str) -> None:
        """Make a token invalid at once."""
        call(f"{self.url}/auth/tokens", self.admin, method="DELETE", X_Subject_Token=token)

    def role(self, name: str) -> None:
        """Make a role."""
        call(f"{self.url}/roles", self.admin, {"role": {"name": name}})

    def project(self, name: str) -> str:
        """Make a project if there is none of that name; returns its id."""
        there: list[dict[str, str]]
        there = call(f"{self.url}/projects?name={name}", self.admin)["projects"]
        if there:
            return there[0]["id"]
        body = {"project": {"name": name, "domain_id": "default"}}
        made: str = call(f"{self.url}/projects", self.admin, body)["project"]["id"]
        return made

    def user(self, name: str, project_id: str, role: str) -> None:
        """Make a user with a role in a project, if there is none of that name."""
        there = call(f"{self.url}/users?name={name}", self.admin)["users"]
        body = {"user": {"name": name, "password": name, "domain_id": "default"}}
        made = there[0] if there else call(f"{self.url}/users", self.admin, body)["user"]
        user_id = made["id"]
        roles = call(f"{self.url}/roles?name={role}", self.admin)["roles"]
        role_id = roles[0]["id"]
        path = f"projects/{project_id}/users/{user_id}/roles/{role_id}"
        call(f"{self.url}/{path}", self.admin, method="PUT")


def people(identity: Keystone) -> dict[str, str]:
    """Make users, each in a project of its own, except the service's; returns their projects."""
    identity.role("image_reader")
    roles = {
        "ann": "member",
        "ben": "member",
        "reader": "image_reader",
        "chief": "admin",
        "imageapi": "service",
    }
    projects = {"service": identity.project("service")}
    for user, role in roles.items():
        home = projects["service"] if role == "service" else identity.project(f"project-of-{user}")
        identity.user(user, home, role)
        projects[user] = home
    return projects


@contextmanager
def keystone(folder: Path) -> Iterator[Keystone]:
    """Run a Keystone in an empty folder; its admin is in the project ``admin``."""
    port = free_port()
    config = folder / "keystone.conf"
    config.write_text(KEYSTONE.format(folder=folder))
    url = f"http://127.0.0.1:{port}/v3"
    manage = [str(ENVIRONMENTS / "keystone" / "bin" / "keystone-manage")]
    manage += ["--config-file", str(config)]
    for name in ("fernet", "credential"):
        # As fernet_setup and credential_setup do, which would take seconds.
        (folder / name).mkdir(mode=0o700)
        for key in ("0", "1"):
            (folder / name / key).write_bytes(Fernet.generate_key())
    for words in (
        ["db_sync"],
        ["bootstrap", "--bootstrap-password", "admin", "--bootstrap-public-url", url],
    ):
        subprocess.run([*manage, *words], check=True, capture_output=True, timeout=120, cwd=folder)
    with _answering(folder, config, port):
        server = Keystone(url, folder)
        server.admin = server.token("admin", "admin")
        yield server


@contextmanager
def hasty_keystone(identity: Keystone, seconds: int) -> Iterator[Keystone]:
    """Run a second process of a Keystone, whose tokens are valid for some seconds."""
    port = free_port()
    folder = identity.folder
    config = folder / "hasty.conf"
    token = f"[token]\nexpiration = {seconds}\n"
    config.write_text(KEYSTONE.format(folder=folder) + token)
    with _answering(folder, config, port):
        yield Keystone(f"http://127.0.0.1:{port}/v3", folder)


@contextmanager
def _answering(folder: Path, config: Path, port: int) -> Iterator[None]:
    """Run Keystone's application in a folder."""
    (folder / "gunicorn.conf.py").write_text(GUNICORN.format(port=port))
    command = [str(ENVIRONMENTS / "keystone" / "bin" / "gunicorn")]
    environ = {"OS_KEYSTONE_CONFIG_FILES": str(config)}
    with running(command, port, folder / "output.log", environ, folder):
        yield


@contextmanager
def glance(folder: Path, identity: Keystone, more: str = "") -> Iterator[str]:
    """Run a Glance in an empty folder, behind a Keystone; yields its URL.

    :param more: lines of its section [DEFAULT].
    """
    identity.user("glance", identity.project("service"), "admin")
    port = free_port()
    options = [f"--http-socket=127.0.0.1:{port}"]
    with _glance(folder, port, options, flavor="keystone", keystone=identity.url, more=more):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def open_glance(
    folder: Path, port: int, *, upstream: int | None = None, database: str = ""
) -> Iterator[int]:
    """Run a Glance in an empty folder. Its policy allows everything, so it needs no Keystone.

    :param database: the URL of an empty database, for SQLAlchemy; by default SQLite.
    :param upstream: the port of a web server. Its images may be locations, and Glance keeps what
        it gets from there in its image cache.
    :returns: its process's id.
    """
    actions = "add_image download_image get_image get_images publicize_image upload_image"
    actions += " modify_image get_image_location set_image_location"
    (folder / "policy.yaml").write_text(json.dumps(dict.fromkeys(actions.split(), "@")))
    policy = f"policy_file = {folder}/policy.yaml"
    options = [f"--http11-socket=127.0.0.1:{port}"]
    flavor, backends, more = "", "files:file", ""
    if upstream:
        flavor, backends = "caching", "files:file, web:http"
        more = CACHE.format(folder=folder, port=port)
        policy += FROM_LOOPBACK.format(port=upstream)
    with _glance(
        folder,
        port,
        options,
        flavor=flavor,
        policy=policy,
        more=more,
        backends=backends,
        database=database,
    ) as process:
        yield process.pid


@contextmanager
def _glance(
    folder: Path,
    port: int,
    options: list[str],
    *,
    flavor: str,
    keystone: str = "",
    policy: str = "",
    more: str = "",
    backends: str = "files:file",
    database: str = "",
) -> Iterator["subprocess.Popen[bytes]"]:
    paste = ENVIRONMENTS / "glance" / "etc" / "glance" / "glance-api-paste.ini"
    text = GLANCE.format(
        folder=folder,
        paste=paste,
        keystone=keystone,
        flavor=flavor,
        policy=policy,
        options=more,
        backends=backends,
        database=database or f"sqlite:///{folder}/glance.db",
    )
    with running_glance(folder, port, text, options) as process:
        yield process


@contextmanager
def running_glance(
    folder: Path, port: int, configuration: str, options: list[str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Make the tables of a Glance, and run it.

    :param folder: for all that it writes.
    :param configuration: of ``glance-api.conf``.
    :param options: more options of uWSGI.
    """
    (folder / "glance-api.conf").write_text(configuration)
    shutil.copy(ENVIRONMENTS / "glance" / "etc" / "glance" / "glance-manage.conf", folder)
    command = [str(ENVIRONMENTS / "glance" / "bin" / "uwsgi"), *options, f"--pythonpath={PROGRAMS}"]
    command += ["--module=glance_app:application", "--processes=1", "--threads=16"]
    command += ["--need-app", "--die-on-term", "--enable-threads", "--disable-logging"]
    environ = {"OS_GLANCE_CONFIG_DIR": str(folder)}
    environ |= {"GLANCE_MANAGE_CONFIG": f"{folder}/glance-api.conf"}
    with running(command, port, folder / "output.log", environ, folder) as process:
        yield process
