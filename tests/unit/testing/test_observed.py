# SPDX-License-Identifier: Apache-2.0
import os
import socket
import threading
from contextlib import suppress

from imageapi.testing.observed import descriptors, open_files, upstream_asked


def test_descriptors_are_counted() -> None:
    before = descriptors()
    opened = os.open("/dev/null", os.O_RDONLY)
    assert descriptors() == before + 1
    os.close(opened)
    assert descriptors() == before


def test_descriptor_that_replaces_another_one_is_seen() -> None:
    first = os.open("/dev/null", os.O_RDONLY)
    before = open_files()
    os.close(first)
    second = os.open("/dev/zero", os.O_RDONLY)
    assert second == first
    assert open_files() - before == {(str(second), "/dev/zero")}
    os.close(second)


def _connect() -> None:
    with socket.socket() as connection, suppress(OSError):
        connection.connect(("127.0.0.1", 9))


def test_contact_of_this_thread_is_seen() -> None:
    with upstream_asked() as asked:
        thread = threading.Thread(target=_connect)
        thread.start()
        thread.join()
        assert asked == []
        _connect()
    _connect()
    assert asked == ["socket.connect"]
