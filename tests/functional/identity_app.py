# SPDX-License-Identifier: Apache-2.0
"""A host application that identifies the caller and passes it to imageapi.

It plays the authentication in front of imageapi. It is only for tests: it believes
identity headers that any client can send.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import imageapi
from imageapi import Caller
from tests.functional.servers import running
from tests.paths import ROOT

_ADMIN = Caller(user_id="root", roles=("admin",), is_admin=True)


def build(settings_file: str) -> WSGIApplication:
    """Make the application; gunicorn calls this in each worker.

    :param settings_file: JSON; for each port the server listens on, who the
        caller is (``caller``: ``admin`` or ``headers``) and the files of the
        configuration (``config_files``).
    """
    settings = json.loads(Path(settings_file).read_text())
    by_port = {port: _host(deployment) for port, deployment in settings.items()}

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return by_port[environ["SERVER_PORT"]](environ, start_response)

    return application


def _host(deployment: dict[str, Any]) -> WSGIApplication:
    api = imageapi.ImageAPI(imageapi.load_config(deployment["config_files"]))
    identify = _IDENTIFY[deployment["caller"]]

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["imageapi.caller"] = identify(environ)
        return api(environ, start_response)

    return application


def _from_headers(environ: WSGIEnvironment) -> Caller:
    if environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
        return Caller()
    roles = tuple(environ["HTTP_X_ROLES"].split(","))
    return Caller(
        user_id=environ["HTTP_X_USER_ID"],
        project_id=environ["HTTP_X_TENANT_ID"],
        roles=roles,
        is_admin="admin" in roles,
    )


_IDENTIFY: dict[str, Callable[[WSGIEnvironment], Caller]] = {
    "admin": lambda environ: _ADMIN,
    "headers": _from_headers,
}


@contextmanager
def running_identity_app(folder: Path, settings: Mapping[int, Mapping[str, Any]]) -> Iterator[None]:
    """Run the application in gunicorn, until the block ends.

    :param folder: for its settings and its log.
    :param settings: for each port, as for `build`.
    """
    settings_file = folder / "deployments.json"
    settings_file.write_text(json.dumps(settings))
    command = [
        *(sys.executable, "-m", "gunicorn", "--worker-class=gthread", "--threads=4"),
        # So the server closes no connection while a client waits for more.
        *("--keep-alive=60", "--no-control-socket", f"--pythonpath={ROOT}"),
        *(f"--bind=127.0.0.1:{port}" for port in settings),
        f"tests.functional.identity_app:build({str(settings_file)!r})",
    ]
    # It binds them in order, so all listen when the last one does.
    with running(command, list(settings)[-1], folder / "server.log"):
        yield
