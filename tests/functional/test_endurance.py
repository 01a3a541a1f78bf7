# SPDX-License-Identifier: Apache-2.0
"""Thousands of requests of all kinds leave no descriptor open and no memory in use."""

import itertools
import os
import re
import socket
import time
from itertools import pairwise
from pathlib import Path

import psutil

from tests.deployment import Deployment
from tests.functional.servers import running_imageapi
from tests.functional.waiting import becomes_true

BIG = os.urandom(4_000_000)
REQUESTS = 5_000
ROUNDS = 4


def prepare(deployment: Deployment) -> list[bytes]:
    """Images of all kinds, and the requests for them."""
    deployment.configure(core="chunk_size = 65536")
    deployment.add("small", b"x" * 1024, properties={"a": "b"})
    deployment.add("big", BIG)
    deployment.add("corrupt", BIG, checksum="0" * 32)
    deployment.add("short", BIG[:-1], size=len(BIG))
    deployment.add("empty", b"")
    deployment.record("nodata")
    deployment.record("queued", status="queued")
    deployment.record("hidden", is_public=False)
    deployment.record_path("malformed").write_text("{")
    kinds = [
        *((b"GET", image_id, b"") for image_id in ("small", "big", "big", "corrupt", "short")),
        *((b"GET", image_id, b"") for image_id in ("empty", "nodata", "queued", "hidden")),
        *((b"GET", image_id, b"") for image_id in ("malformed", "absent", "small?format=json")),
        *((b"HEAD", image_id, b"") for image_id in ("small", "big", "absent")),
        (b"GET", "big", b"Range: bytes=100000-3000000\r\n"),
        (b"GET", "big", b"Range: bytes=9000000-\r\n"),
        (b"GET", "small", b"If-None-Match: *\r\n"),
        (b"GET", "small", b"If-Match: x\r\n"),
        (b"POST", "small", b"Content-Length: 0\r\n"),
    ]
    return [
        b"%s /v1/images/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n"
        % (method, image_id.encode(), headers)
        for method, image_id, headers in kinds
    ]


def read_or_leave(port: int, request: bytes, leave_after: int | None) -> None:
    """Send a request; read all of the answer, or leave after some bytes of it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(request)
        if leave_after == 0:
            return
        received = 0
        try:
            while chunk := sock.recv(65536):
                received += len(chunk)
                if leave_after is not None and received >= leave_after:
                    return
        except ConnectionResetError:
            return  # so the server breaks an answer off


def held_at_rest(worker: psutil.Process) -> tuple[int, int]:
    """Descriptors and resident memory (bytes), once all connections are closed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        before = worker.num_fds()
        time.sleep(0.5)
        if worker.num_fds() == before:
            break
    return worker.num_fds(), worker.memory_info().rss


def test_descriptors_and_memory_return_to_their_start(deployment: Deployment) -> None:
    requests = prepare(deployment)
    leaving = itertools.cycle([None, None, 0, None, None, 1, None, None, 300_000])
    with running_imageapi(deployment.config_file) as server:
        assert becomes_true(server.children)
        (worker,) = server.children()
        # The first requests start threads and fill caches, so they are not counted.
        for request in itertools.islice(itertools.cycle(requests), 2 * REQUESTS):
            read_or_leave(server.port, request, next(leaving))
        held = [held_at_rest(worker)]
        for _ in range(ROUNDS):
            for request in itertools.islice(itertools.cycle(requests), REQUESTS // ROUNDS):
                read_or_leave(server.port, request, next(leaving))
            held.append(held_at_rest(worker))
    assert len({descriptors for descriptors, _ in held}) == 1
    # What leaks, leaks in each round; what the allocator keeps varies by some chunks.
    assert min(after - before for (_, before), (_, after) in pairwise(held)) < 500_000
    log = Path(deployment.folder / "server.log").read_text()
    assert not re.search(r"MemoryError|Too many open files|AssertionError", log)
