# SPDX-License-Identifier: Apache-2.0
"""The option ``record_ttl`` with a real nginx and a real Swift, which count the requests."""

import hashlib
import http.client
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import swiftclient

import imageapi
from imageapi.backends.http_client.record_cache import RecordCache
from tests.deployment import get
from tests.functional.nginx import Nginx
from tests.functional.servers import Running, running_imageapi
from tests.functional.swift import Swift, swift_configuration, v1_options
from tests.functional.waiting import wait_until

DATA = b"the data of an image"
RECORD = {
    "status": "active",
    "is_public": True,
    "size": len(DATA),
    "checksum": hashlib.md5(DATA).hexdigest(),
}

IN_NGINX = """\
[imageapi]
registry = http
stores = file
policy = visible
[imageapi_registry_http]
endpoint = http://127.0.0.1:{port}/records
suffix = .json
record_ttl = {ttl}
[imageapi_store_file]
directory = {folder}/images
"""


class LaterRecords:
    """The time of the records: the real one, and how much later a test makes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        now = RecordCache.now
        monkeypatch.setattr(RecordCache, "now", lambda cache: now(cache) + self.seconds)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> LaterRecords:
    return LaterRecords(monkeypatch)


class Records:
    """Records and data in a folder; an nginx serves the records."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("records", "images", "state"):
            (folder / name).mkdir()
        self.nginx = Nginx(folder, folder / "state")

    def add(self, image_id: str) -> None:
        path = self._folder / "records" / f"{image_id}.json"
        path.write_text(json.dumps(RECORD))
        # A younger file has no ETag that can be relied on.
        os.utime(path, (1_000_000_000, 1_000_000_000))
        (self._folder / "images" / image_id).write_bytes(DATA)

    def withdraw(self, image_id: str) -> None:
        (self._folder / "records" / f"{image_id}.json").unlink()

    def configure(self, ttl: float) -> Path:
        path = self._folder / "imageapi.conf"
        path.write_text(IN_NGINX.format(port=self.nginx.port, ttl=ttl, folder=self._folder))
        return path

    def statuses(self) -> list[str]:
        """The statuses that nginx has sent, as far as it has logged them."""
        log = (self._folder / "state" / "access.log").read_text()
        return re.findall(r'HTTP/1.1" (\d+)', log)


@pytest.fixture
def in_nginx(tmp_path: Path) -> Iterator[Records]:
    records = Records(tmp_path)
    records.nginx.start()
    with closing(records.nginx):
        yield records


def statuses_of_head(api: imageapi.ImageAPI, image_id: str, count: int = 1) -> list[int]:
    return [get(api, f"/v1/images/{image_id}", "HEAD").status_code for _ in range(count)]


def test_an_nginx_is_asked_once_in_the_time(in_nginx: Records, later: LaterRecords) -> None:
    in_nginx.add("i")
    with closing(imageapi.ImageAPI(imageapi.load_config([in_nginx.configure(600)]))) as api:
        assert get(api, "/v1/images/i").body == DATA
        assert statuses_of_head(api, "i", 20) == [200] * 20
        later.seconds = 601
        assert statuses_of_head(api, "i", 20) == [200] * 20
        in_nginx.withdraw("i")
        assert get(api, "/v1/images/i").body == DATA
        later.seconds = 1202
        assert statuses_of_head(api, "i", 2) == [404, 404]
        # A new image appears at once.
        in_nginx.add("i")
        assert statuses_of_head(api, "i", 20) == [200] * 20
    # Only then no request can be missing in the log.
    in_nginx.nginx.close()
    assert in_nginx.statuses() == ["200", "304", "404", "404", "304"]


def test_an_nginx_is_asked_at_each_request_by_default(in_nginx: Records) -> None:
    in_nginx.add("i")
    with closing(imageapi.ImageAPI(imageapi.load_config([in_nginx.configure(0)]))) as api:
        assert statuses_of_head(api, "i", 3) == [200] * 3
        in_nginx.withdraw("i")
        assert statuses_of_head(api, "i") == [404]
    in_nginx.nginx.close()
    assert in_nginx.statuses() == ["200", "304", "304", "404"]


def status_of(server: Running, image_id: str) -> int:
    with server.connection() as connection:
        connection.request("HEAD", f"/v1/images/{image_id}")
        return connection.getresponse().status


def test_a_reload_forgets_what_was_read(in_nginx: Records) -> None:
    in_nginx.add("i")
    config = in_nginx.configure(86400)
    with running_imageapi(config, "--workers", "1") as server:
        assert status_of(server, "i") == 200
        in_nginx.withdraw("i")
        in_nginx.nginx.kill()
        # imageapi does not notice that nginx is gone.
        assert [status_of(server, "i") for _ in range(20)] == [200] * 20
        assert status_of(server, "other") == 503
        in_nginx.nginx.start()
        server.process.send_signal(signal.SIGHUP)

        def is_withdrawn() -> bool:
            try:
                return status_of(server, "i") == 404
            except (OSError, http.client.HTTPException):
                return False  # between the old process and the new one

        wait_until(is_withdrawn, "the new process remembers the record")


@pytest.fixture
def records_client(swift: Swift) -> Iterator[swiftclient.Connection]:
    with closing(swift.client()) as client:
        for container in ("records", "images"):
            client.put_container(container)
        yield client


def test_swift_is_asked_once_in_the_time(
    swift: Swift, records_client: swiftclient.Connection, later: LaterRecords, tmp_path: Path
) -> None:
    records_client.put_object("images", "i", DATA)
    records_client.put_object("records", "i.json", json.dumps(RECORD))
    config = tmp_path / "imageapi.conf"
    lines = swift_configuration(v1_options(swift))
    container = "container = records\n"
    assert container in lines
    config.write_text(lines.replace(container, f"{container}record_ttl = 600\n"))
    with ExitStack() as stack:
        api = stack.enter_context(closing(imageapi.ImageAPI(imageapi.load_config([config]))))
        assert get(api, "/v1/images/i").body == DATA
        assert statuses_of_head(api, "i", 20) == [200] * 20
        later.seconds = 601
        assert statuses_of_head(api, "i", 20) == [200] * 20
        # A list asks, first for the order and then for the page.
        records_client.put_object("records", "i.json", json.dumps({**RECORD, "name": "new"}))
        (listed,) = json.loads(get(api, "/v1/images").body)["images"]
        assert listed["name"] == "new"
        records_client.delete_object("records", "i.json")
        assert get(api, "/v1/images/i").headers["X-Image-Meta-Name"] == "new"
        assert json.loads(get(api, "/v1/images").body) == {"images": []}
        later.seconds = 1202
        assert statuses_of_head(api, "i", 2) == [404, 404]
        records_client.put_object("records", "i.json", json.dumps(RECORD))
        assert statuses_of_head(api, "i", 20) == [200] * 20

    def statuses() -> list[str]:
        log = (swift.folder / "proxy.log").read_text()
        return re.findall(r"GET /v1/AUTH_acme/records/i.json HTTP/1.0 (\d+)", log)

    expected = ["200", "304", "200", "200", "404", "404", "200"]
    wait_until(lambda: len(statuses()) >= len(expected), "requests are missing in the log")
    assert statuses() == expected
