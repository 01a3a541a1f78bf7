# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ, which a test may kill and start again."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.functional.openstack import ENVIRONMENTS
from tests.functional.servers import free_port, running

FOLDER = ENVIRONMENTS / "rabbitmq"
ERLANG = FOLDER / "usr" / "lib" / "erlang"
USER = "ann"
PASSWORD = "hunter2-of-the-broker"

CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = 1MB
"""


class RabbitMQ:
    """A RabbitMQ, its folder and its URL."""

    def __init__(self, folder: Path) -> None:
        """Write what it reads; `start` starts it.

        :param folder: empty.
        """
        self.port = free_port()
        self.url = f"rabbit://{USER}:{PASSWORD}@127.0.0.1:{self.port}/"
        self._folder = folder
        self._ports_of_names = free_port()
        self._running = ExitStack()
        text = CONFIG.format(port=self.port, user=USER, password=PASSWORD)
        (folder / "rabbitmq.conf").write_text(text)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        (installed,) = FOLDER.glob("usr/lib/rabbitmq/lib/rabbitmq_server-*")
        environ = self._environ(installed)
        # The server would start this one itself, and leave it running.
        epmd = [str(path) for path in ERLANG.glob("erts-*/bin/epmd")]
        log = self._folder / "epmd.log"
        self._running.enter_context(running(epmd, self._ports_of_names, log, environ))
        command = [str(installed / "sbin" / "rabbitmq-server")]
        log = self._folder / "rabbitmq.log"
        self.process = self._running.enter_context(
            # It takes ten seconds of a processor, which others may need too.
            running(command, self.port, log, environ, self._folder, seconds=200)
        )

    def kill(self) -> None:
        """Kill it, as it is; all its connections break."""
        self.process.kill()
        self._running.close()

    def close(self) -> None:
        """Stop it where it runs."""
        self._running.close()

    def _environ(self, installed: Path) -> dict[str, str]:
        folder = str(self._folder)
        libraries = ":".join(map(str, FOLDER.glob("usr/lib/*-linux-gnu*")))
        only_loopback = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "HOME": folder,
            "PATH": f"{ERLANG}/bin:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": libraries,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._ports_of_names),
            # Its script then runs the server in its own process, which a test can kill.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_NODENAME": f"imageapi{self.port}@localhost",
            "RABBITMQ_PLUGINS_DIR": str(installed / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": only_loopback,
        }


@contextmanager
def running_rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    """Run a RabbitMQ in an empty folder."""
    server = RabbitMQ(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
