# SPDX-License-Identifier: Apache-2.0
"""The cache in front of a real nginx: one fetch, killed processes, and services that share it."""

import contextlib
import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import imageapi
from tests.deployment import get
from tests.functional.http_client import connection
from tests.functional.nginx import Nginx
from tests.functional.servers import Running, running_imageapi
from tests.functional.waiting import becomes_true

DATA = random.Random(5).randbytes(12_000_000)
ROUNDS = 12
CLIENTS = 20

BEFORE_NGINX = """\
[imageapi]
registry = file
stores = web:http
policy = visible
[imageapi_registry_file]
directory = {folder}/records
[imageapi_store_web]
allowed_urls = http://127.0.0.1:{port}/
[imageapi_cache]
directory = {folder}/cache
{more}
"""


class CachedUpstream:
    """An nginx with the image ``i``, and configurations of services in front of it."""

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder
        for name in ("www", "records", "cache", "state"):
            (folder / name).mkdir()
        self.nginx = Nginx(folder / "www", folder / "state", server=server)
        self.cache = folder / "cache"
        self.put("i", DATA)

    def put(self, image_id: str, data: bytes) -> None:
        path = self.folder / "www" / image_id
        path.write_bytes(data)
        # The ETag of a younger file cannot be relied on.
        os.utime(path, (1_000_000_000, 1_000_000_000))
        record = {
            "status": "active",
            "is_public": True,
            "size": len(data),
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(data).hexdigest(),
            "location": f"http://127.0.0.1:{self.nginx.port}/{image_id}",
        }
        (self.folder / "records" / f"{image_id}.json").write_text(json.dumps(record))

    def configure(self, name: str = "imageapi", more: str = "") -> Path:
        (self.folder / name).mkdir(exist_ok=True)
        path = self.folder / name / "imageapi.conf"
        text = BEFORE_NGINX.format(folder=self.folder, port=self.nginx.port, more=more)
        path.write_text(text)
        return path

    def requests(self) -> int:
        """How many requests nginx has answered, as far as it has logged them."""
        log = self.folder / "state" / "access.log"
        return log.read_text().count("\n") if log.exists() else 0

    def is_kept(self) -> bool:
        return bool(list(self.cache.glob("*.ok")))

    def has_part(self) -> bool:
        return bool(list(self.cache.glob("*.part")))

    def clear(self) -> None:
        for path in self.cache.glob("sha512*"):
            path.unlink(missing_ok=True)


@pytest.fixture
def cached_upstream(tmp_path: Path) -> Iterator[CachedUpstream]:
    cached_upstream = CachedUpstream(tmp_path, "limit_rate 40m;")
    cached_upstream.nginx.start()
    with closing(cached_upstream.nginx):
        yield cached_upstream


def download(port: int) -> bytes:
    with connection(port) as client:
        client.request("GET", "/v1/images/i")
        return client.getresponse().read()


def download_at_once(server: Running, count: int = CLIENTS) -> set[bytes]:
    with ThreadPoolExecutor(count) as threads:
        return set(threads.map(lambda _: download(server.port), range(count)))


def test_one_fetch_for_the_clients_of_two_services(cached_upstream: CachedUpstream) -> None:
    one, other = (
        cached_upstream.configure("one"),
        cached_upstream.configure("other", "max_size = 13000000"),
    )
    with running_imageapi(one, "--workers", "2") as first, running_imageapi(other) as second:
        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(download_at_once, (first, second)))
        assert results == [{DATA}, {DATA}]
        assert becomes_true(cached_upstream.is_kept)
        assert cached_upstream.requests() == 1
    # The data is verified, so a new process need not read it from nginx.
    cached_upstream.nginx.kill()
    with running_imageapi(one) as server:
        assert download(server.port) == DATA


@contextlib.contextmanager
def filling_process(config: Path) -> Iterator[int]:
    """A process that fills the cache with the image ``i``, until it is killed or the end."""
    child = os.fork()
    if not child:
        try:
            with closing(imageapi.ImageAPI(imageapi.load_config([str(config)]))) as api:
                for _ in get(api, "/v1/images/i").app_iter:
                    pass
        finally:
            os._exit(0)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.timeout(300)
def test_a_filler_that_is_killed(cached_upstream: CachedUpstream) -> None:
    """No client of another process fails, and nothing is left that nobody will complete."""
    config = cached_upstream.configure()
    moments = random.Random(7)
    with running_imageapi(config, "--workers", "2") as server:
        for _ in range(ROUNDS):
            cached_upstream.clear()
            with filling_process(config) as filler:
                assert becomes_true(cached_upstream.has_part)
                with ThreadPoolExecutor(CLIENTS) as threads:
                    answers = [threads.submit(download, server.port) for _ in range(CLIENTS)]
                    time.sleep(moments.uniform(0, 0.4))
                    os.kill(filler, signal.SIGKILL)
                    assert {answer.result() for answer in answers} == {DATA}
            assert becomes_true(lambda: not cached_upstream.has_part())
            assert download(server.port) == DATA
            assert becomes_true(cached_upstream.is_kept)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_data_that_is_replaced_upstream_in_the_middle(cached_upstream: CachedUpstream) -> None:
    """No client gets a complete wrong body, and the old record's data is not kept."""
    with running_imageapi(cached_upstream.configure()) as server:
        with connection(server.port) as client:
            client.request("GET", "/v1/images/i")
            response = client.getresponse()
            received = response.read(1000)
            # nginx goes on with the old file; in place, it sends a mixture.
            flip_a_byte(cached_upstream.folder / "www" / "i")
            with contextlib.suppress(Exception):
                received += response.read()
        assert DATA.startswith(received) or len(received) < len(DATA)
        assert becomes_true(lambda: not cached_upstream.has_part())
        new = DATA[::-1]
        cached_upstream.put("i", new)
        assert download(server.port) == new


def test_an_upstream_that_stalls_keeps_no_other_client_waiting(tmp_path: Path) -> None:
    """More clients wait than the service has threads."""
    upstream = CachedUpstream(tmp_path, "limit_rate 100k;")
    upstream.put("small", b"small")
    upstream.nginx.start()
    config = upstream.configure()
    with closing(upstream.nginx), running_imageapi(config, "--threads", "4") as server:
        with contextlib.ExitStack() as stack:
            for _ in range(CLIENTS):
                client = stack.enter_context(connection(server.port))
                client.request("GET", "/v1/images/i")
            assert becomes_true(upstream.has_part)
            time.sleep(0.5)
            begin = time.monotonic()
            with connection(server.port) as other:
                other.request("GET", "/v1/images/small")
                assert other.getresponse().read() == b"small"
            # The others wait for minutes.
            assert time.monotonic() - begin < 10
        assert upstream.requests() <= 1


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP])
def test_a_service_that_stops_or_reloads_while_it_fills(
    cached_upstream: CachedUpstream, stop: signal.Signals
) -> None:
    """Its downloads end, and the fill with them; nothing is left."""
    with running_imageapi(cached_upstream.configure()) as server:
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(download, server.port)
            assert becomes_true(cached_upstream.has_part)
            server.process.send_signal(stop)
            assert answer.result() == DATA
        if stop is signal.SIGTERM:
            server.process.wait(60)
        assert becomes_true(lambda: not cached_upstream.has_part())


Damage = Callable[[Path], None]


@pytest.mark.parametrize("damage", [flip_a_byte, lambda path: os.truncate(path, 5)])
def test_a_kept_file_that_is_damaged(cached_upstream: CachedUpstream, damage: Damage) -> None:
    with running_imageapi(cached_upstream.configure()) as server:
        assert download(server.port) == DATA
        assert becomes_true(cached_upstream.is_kept)
        (signature,) = cached_upstream.cache.glob("*.ok")
        damage(signature.with_suffix(""))
        assert download(server.port) == DATA
        assert becomes_true(cached_upstream.is_kept)
        assert cached_upstream.requests() == 2
