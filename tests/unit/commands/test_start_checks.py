# SPDX-License-Identifier: Apache-2.0
import errno
import socket
from typing import Any

import pytest

from imageapi.commands.start_checks import log_failing, refuse_unusable_addresses
from imageapi.errors import ImageAPIError
from tests.deployment import Deployment


def test_a_port_in_use_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ImageAPIError) as caught:
            refuse_unusable_addresses([f"127.0.0.1:{port}"], "--port")
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; another process listens"
        " there: choose another with --port"
    )
    refuse_unusable_addresses([f"127.0.0.1:{port}"], "--port")


def test_sockets_that_are_open_already(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("LISTEN_FDS", "1")
        refuse_unusable_addresses([f"127.0.0.1:{server.getsockname()[1]}"], "--port")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EADDRNOTAVAIL, "this machine does not have the address"),
        (errno.EACCES, "this user may not listen on a port below 1024: choose"),
        (errno.EIO, "no: choose another with --port"),
    ],
)
def test_other_addresses_that_cannot_be_used(
    number: int, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bind(*_: Any) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(ImageAPIError, match=advice):
        refuse_unusable_addresses(["127.0.0.1:80"], "--port")


def test_a_host_without_an_address() -> None:
    with pytest.raises(ImageAPIError, match=r"the host 'a\.\.b' has no address: choose another"):
        refuse_unusable_addresses(["a..b:80"], "--port")


def test_a_missing_folder_is_logged_and_does_not_prevent_the_start(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    api = deployment.api()
    log_failing(api.backends)
    assert caplog.messages == []
    deployment.images.rmdir()
    log_failing(api.backends)
    api.close()
    assert caplog.messages == [
        (
            f"store 'file': {deployment.images}: No such file or directory;"
            " correct this; until then, its requests fail"
        )
    ]
