# SPDX-License-Identifier: Apache-2.0
"""The Swift backends with a real Swift, and with its faults."""

import hashlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import swiftclient
import webob

import imageapi
from imageapi.backends.swift.registry import SwiftRegistry
from imageapi.backends.swift.store import SwiftStore
from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import BackendError, ImageNotFound, MalformedImage
from imageapi.image import Location
from imageapi.testing.suite import build
from tests.deployment import close, get
from tests.functional.raw_client import Pause, RawAnswer, exchange
from tests.functional.servers import serving
from tests.functional.swift import (
    KEY,
    Swift,
    swift_configuration,
    upload_dlo,
    upload_slo,
    v1_options,
)
from tests.paths import BIN

MIB = 1024 * 1024
DATA = os.urandom(24 * MIB)
SEGMENTS = [DATA[start : start + 8 * MIB] for start in range(0, len(DATA), 8 * MIB)]
SMALL = DATA[:100_000]


@pytest.fixture(scope="module", autouse=True)
def containers(swift: Swift) -> None:
    with closing(swift.client()) as client:
        for container in ("records", "images", "images_segments", "other"):
            client.put_container(container)


@pytest.fixture
def swift_client(swift: Swift) -> Iterator[swiftclient.Connection]:
    with closing(swift.client()) as client:
        yield client


class Images:
    """Puts images into Swift, and configures imageapi to serve them."""

    def __init__(self, swift: Swift, client: swiftclient.Connection, folder: Path) -> None:
        self.swift = swift
        self.client = client
        self.folder = folder

    def configure(self, store: str = "", **cloud: Any) -> Path:
        path = self.folder / "imageapi.conf"
        path.write_text(swift_configuration({**v1_options(self.swift), **cloud}, store))
        return path

    def record(self, image_id: str, data: bytes, **fields: Any) -> None:
        document = {
            "status": "active",
            "is_public": True,
            "size": len(data),
            "checksum": hashlib.md5(data).hexdigest(),
            **fields,
        }
        self.client.put_object("records", f"{image_id}.json", json.dumps(document))

    def add(self, kind: str, image_id: str, **fields: Any) -> list[str]:
        """Add an image of DATA; returns the names of its segments."""
        self.record(image_id, DATA, **fields)
        if kind == "slo":
            return upload_slo(self.client, "images", image_id, SEGMENTS)
        if kind == "dlo":
            return upload_dlo(self.client, "images", image_id, SEGMENTS)
        self.client.put_object("images", image_id, DATA)
        return []


@pytest.fixture
def swift_images(swift: Swift, swift_client: swiftclient.Connection, tmp_path: Path) -> Images:
    return Images(swift, swift_client, tmp_path)


@pytest.fixture
def make_api(swift_images: Images) -> Iterator[Callable[..., imageapi.ImageAPI]]:
    """Makes an ImageAPI in this process."""
    made: list[imageapi.ImageAPI] = []

    def make(store: str = "", **cloud: Any) -> imageapi.ImageAPI:
        made.append(
            imageapi.ImageAPI(imageapi.load_config([swift_images.configure(store, **cloud)]))
        )
        return made[-1]

    yield make
    for api in made:
        api.close()


def request_bytes(image_id: str, *headers: str) -> bytes:
    lines = [f"GET /v1/images/{image_id} HTTP/1.1", "Host: x", *headers, "", ""]
    return "\r\n".join(lines).encode()


def download_raw(config: Path, image_id: str, pause: Pause | None = None) -> RawAnswer:
    with serving(config) as port:
        return exchange(port, request_bytes(image_id), pause)


def requests_in_log(swift: Swift, words: str) -> int:
    """The number of requests in the log of the proxy that begin with a text."""
    return (swift.folder / "proxy.log").read_text().count(f" {words} HTTP")


# Without faults.


@pytest.mark.parametrize("kind", ["plain", "slo", "dlo"])
def test_downloads(swift_images: Images, make_api: Any, kind: str) -> None:
    swift_images.add(kind, f"good-{kind}")
    api = make_api()
    response = get(api, f"/v1/images/good-{kind}")
    assert (response.status_code, response.body) == (200, DATA)
    part = get(api, f"/v1/images/good-{kind}", Range="bytes=8388600-16777300")
    assert (part.status_code, part.body) == (206, DATA[8388600:16777301])
    etag = response.headers["Etag"]
    assert get(api, f"/v1/images/good-{kind}", If_None_Match=etag).status_code == 304
    head = get(api, f"/v1/images/good-{kind}", "HEAD")
    assert head.headers["Content-Length"] == str(len(DATA))


@pytest.mark.parametrize(
    "url",
    [
        "swift://other/folder/an%20object",
        "swift://other/an@object",
        "SWIFT://other/folder/an%20object",
        "swift+config://ref1/other/glance-id",
        "swift+https://acme%3Anobody:l0cation-secret@127.0.0.1:1/v1/other/glance-id",
        "swift+http://nobody:l0cation-secret@127.0.0.1:1/v1/other/glance-id",
        "swift://nobody:l0cation-secret@127.0.0.1:1/v1/other/glance-id",
        "swift+https://127.0.0.1:1/v1/AUTH_nobody/other/glance-id",
    ],
)
def test_locations(
    swift_images: Images,
    make_api: Any,
    swift_client: swiftclient.Connection,
    url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Only the configured account is asked, with the configured credentials."""
    swift_client.put_object("other", "folder/an object", SMALL)
    for name in ("glance-id", "an@object"):
        swift_client.put_object("other", name, SMALL)
    swift_images.record("elsewhere", SMALL, locations=[{"url": url}])
    caplog.set_level("DEBUG", logger="imageapi")
    response = get(make_api("allowed_containers = o*"), "/v1/images/elsewhere")
    assert (response.status_code, response.body) == (200, SMALL)
    told = get(make_api(), "/v1/images/elsewhere")
    assert told.status_code == 500
    assert "its container is not in allowed_containers" in caplog.text
    assert "l0cation-secret" not in f"{caplog.text}{told.headers}{told.text}"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("swift://images", "must name a container and an object"),
        ("swift://images/", "must name a container and an object"),
        ("swift:images/x", "not a Swift location"),
        ("swift://images/x?s3cret", "write %3F"),
        ("swift://images/x#s3cret", "write %3F"),
        ("swift://images/%zz", "write %3F, %23 and %25"),
        ("swift://images/%FF", "must be UTF-8"),
        ("swift://images/../records/i.json", "dot segment"),
        ("swift://images/%2e%2e/records/i.json", "dot segment"),
        ("swift://images%2F..%2Frecords/i.json", "dot segment"),
        ("swift+config://images/x", "must end in /CONTAINER/OBJECT"),
        ("swift+https://user:s3cret@images/x", "must end in /CONTAINER/OBJECT"),
        ("swift+https://user:s3cret@host/records/i.json", "not in allowed_containers"),
        ("swift://records/i.json", "not in allowed_containers"),
        ("swift://acme:s3cret/i", "not in allowed_containers"),
    ],
)
def test_locations_that_are_refused(swift: Swift, url: str, told: str) -> None:
    store = build(SwiftStore, container="images", **v1_options(swift))
    with pytest.raises(BackendError, match=re.escape(told)) as caught:
        store.open(Location(url), caller=ANONYMOUS)
    assert "s3cret" not in str(caught.value)
    store.close()


def test_prefix(swift: Swift, swift_client: swiftclient.Connection) -> None:
    swift_client.put_object("other", "team/i", SMALL)
    swift_client.put_object("other", "team/i.json", '{"status": "active", "name": "one"}')
    options = {"container": "other", "object_prefix": "team/", **v1_options(swift)}
    store, registry = build(SwiftStore, **options), build(SwiftRegistry, **options)
    blob = store.open(store.locate("i"), caller=ANONYMOUS)
    assert b"".join(blob) == SMALL
    assert registry.get("i", ANONYMOUS).name == "one"
    store.close()
    registry.close()


def test_public_container_without_credentials(
    swift: Swift, swift_client: swiftclient.Connection, tmp_path: Path
) -> None:
    swift_client.put_container("public", headers={"X-Container-Read": ".r:*"})
    swift_client.put_object("public", "i", SMALL)
    options = {"auth_type": "none", "endpoint_override": swift.account_url}
    store = build(SwiftStore, container="public", **options)
    assert b"".join(store.open(store.locate("i"), caller=ANONYMOUS)) == SMALL
    assert store.check() == f"container public at {swift.account_url}/public"
    private = build(SwiftStore, container="images", **options)
    with pytest.raises(BackendError, match="status 401"):
        private.open(private.locate("i"), caller=ANONYMOUS)
    with pytest.raises(BackendError, match="status 401"):
        private.check()
    store.close()
    private.close()


# Records.


def test_records_are_revalidated(
    swift: Swift, swift_client: swiftclient.Connection, make_api: Any, swift_images: Images
) -> None:
    swift_images.record("seen", SMALL, name="one")
    registry = make_api().backends.registry.backend
    first = registry.get("seen", ANONYMOUS)
    assert registry.get("seen", ANONYMOUS) is first
    swift_images.record("seen", SMALL, name="two")
    assert registry.get("seen", ANONYMOUS).name == "two"
    swift_client.delete_object("records", "seen.json")
    with pytest.raises(ImageNotFound):
        registry.get("seen", ANONYMOUS)
    log = (swift.folder / "proxy.log").read_text()
    statuses = re.findall(r"GET /v1/AUTH_acme/records/seen.json HTTP/1.0 (\d+)", log)
    assert statuses == ["200", "304", "200", "404"]


@pytest.mark.parametrize("data", [b"no JSON", b"{}", b'"%s"' % (b"x" * 2**20)])
def test_malformed_records(
    swift_client: swiftclient.Connection,
    make_api: Any,
    data: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    swift_client.put_object("records", "malformed.json", data)
    api = make_api()
    with pytest.raises(MalformedImage, match=r"records/malformed.json: "):
        api.backends.registry.backend.get("malformed", ANONYMOUS)
    assert get(api, "/v1/images/malformed").status_code == 404
    request = webob.Request.blank("/v1/images/malformed")
    request.environ["imageapi.caller"] = Caller(is_admin=True)
    assert request.send(api).status_code == 500


# Logging in.


def test_one_login_for_a_section(swift: Swift, swift_images: Images, make_api: Any) -> None:
    swift_images.record("one", SMALL)
    swift_images.client.put_object("images", "one", SMALL)
    before = requests_in_log(swift, "GET /auth/v1.0")
    api = make_api()
    threads = [threading.Thread(target=lambda: get(api, "/v1/images/one").body) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get(api, "/v1/images/one").body == SMALL
    assert requests_in_log(swift, "GET /auth/v1.0") == before + 1


def test_token_that_is_no_longer_known_is_renewed_once(
    swift: Swift, swift_images: Images, make_api: Any
) -> None:
    swift_images.record("renewed", SMALL)
    swift_images.client.put_object("images", "renewed", SMALL)
    api = make_api()
    assert get(api, "/v1/images/renewed").body == SMALL
    before = requests_in_log(swift, "GET /auth/v1.0")
    swift.revoke_tokens()
    assert get(api, "/v1/images/renewed").body == SMALL
    assert requests_in_log(swift, "GET /auth/v1.0") == before + 1


def test_wrong_credentials(make_api: Any, caplog: pytest.LogCaptureFixture) -> None:
    api = make_api(password="wr0ng-secret")
    assert get(api, "/v1/images/any").status_code == 502
    assert "/auth/v1.0 answers with status 401" in caplog.text
    assert "wr0ng-secret" not in caplog.text


# Faults.


@pytest.mark.parametrize("fault", ["truncated", "emptied", "removed", "damaged"])
@pytest.mark.parametrize("kind", ["plain", "slo", "dlo"])
def test_damaged_file(swift_images: Images, make_api: Any, kind: str, fault: str) -> None:
    """The file of the object, or of the last segment of three.  Swift sends it once."""
    image_id = f"{kind}-{fault}"
    segments = swift_images.add(kind, image_id)
    container, name = ("images_segments", segments[-1]) if segments else ("images", image_id)
    path = swift_images.swift.data_file("AUTH_acme", container, name)
    if fault == "removed":
        path.unlink()
    else:
        with path.open("r+b") as file:
            if fault == "damaged":
                file.seek(1000)
                file.write(b"damage")
            else:
                file.truncate(0 if fault == "emptied" else path.stat().st_size - 1)
    with serving(swift_images.configure()) as port:
        answers = [exchange(port, request_bytes(image_id)) for _ in range(2)]
    for answer in answers:
        # The second answer is 500 if the first one showed that the hash is wrong.
        assert answer.status in (200, 404, 500)
        assert len(answer.body) < len(DATA)
        assert answer.status != 200 or answer.connection == "closed"
    if kind == "plain" and fault != "damaged":
        assert answers[0].status == 404


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("kind", ["slo", "dlo"])
def test_lost_segment(swift_images: Images, kind: str, lost: int) -> None:
    """A user of Swift has removed it."""
    image_id = f"lost-{kind}-{lost}"
    segments = swift_images.add(kind, image_id)
    swift_images.client.delete_object("images_segments", segments[lost])
    answer = download_raw(swift_images.configure(), image_id)
    if kind == "dlo":
        # Swift answers 200 with a smaller size, which is noticed before the first byte.
        assert answer.status == 500
    elif lost == 0:
        assert answer.status == 502
    else:
        assert (answer.status, answer.connection) == (200, "closed")
        assert answer.body == DATA[: len(answer.body)]
        assert len(answer.body) <= lost * 8 * MIB


@pytest.mark.parametrize("kind", ["plain", "slo", "dlo"])
def test_proxy_that_is_killed_and_comes_back(swift_images: Images, kind: str) -> None:
    """Its tokens are lost too. The client notices nothing."""
    swift_images.add(kind, f"killed-{kind}")
    swift = swift_images.swift

    starter = threading.Timer(1, swift.start, ["proxy"])

    def kill() -> None:
        swift.stop("proxy")
        starter.start()

    answer = download_raw(swift_images.configure(), f"killed-{kind}", Pause(2 * MIB, kill))
    starter.join()
    assert (answer.status, answer.body, answer.connection) == (200, DATA, "open")
    log = (swift_images.folder / "server.log").read_text()
    assert "resuming at byte" in log


def read_to_error(chunks: Iterable[bytes]) -> bytes:
    """The data before an error."""
    received = b""
    try:
        for chunk in chunks:
            received += chunk
    except BackendError:
        return received
    raise AssertionError("there was none")


@pytest.mark.parametrize("kind", ["slo", "dlo"])
def test_segment_that_is_replaced_while_another_is_sent(
    swift_images: Images, make_api: Any, kind: str
) -> None:
    """Swift sends the new segment of a dynamic object, with the old ETag."""
    names = swift_images.add(kind, f"segment-{kind}")
    api = make_api()
    assert get(api, f"/v1/images/segment-{kind}").body == DATA
    response = get(api, f"/v1/images/segment-{kind}")
    received = next(iter(response.app_iter))
    swift_images.client.put_object("images_segments", names[-1], SEGMENTS[0])
    received += read_to_error(response.app_iter)
    close(response)
    assert len(received) < len(DATA)


def test_object_that_is_replaced_before_the_proxy_is_killed(swift_images: Images) -> None:
    """The data is never a mixture of both."""
    swift_images.add("plain", "replaced")
    swift = swift_images.swift

    def replace() -> None:
        swift_images.client.put_object("images", "replaced", DATA[::-1])
        swift.stop("proxy")
        swift.start("proxy")

    answer = download_raw(swift_images.configure(), "replaced", Pause(2 * MIB, replace))
    assert (answer.status, answer.connection) == (200, "closed")
    assert answer.body == DATA[: len(answer.body)]
    assert len(answer.body) < len(DATA)


@pytest.mark.parametrize(
    ("kind", "statuses"), [("account", {200}), ("container", {200}), ("object", {503})]
)
def test_server_that_is_down(
    swift_images: Images, make_api: Any, kind: str, statuses: set[int]
) -> None:
    """A server behind the proxy; with and without account and container in its cache."""
    swift_images.record("down", SMALL)
    swift_images.client.put_object("images", "down", SMALL)
    api = make_api(status_code_retries=1, status_code_retry_delay=0.1)
    assert get(api, "/v1/images/down").body == SMALL
    swift_images.swift.stop(kind)
    try:
        response = get(api, "/v1/images/down")
        assert response.status_code in statuses
        swift_images.swift.stop("proxy")
        swift_images.swift.start("proxy")
        response = get(api, "/v1/images/down")
        assert response.status_code in {*statuses, 503}
        if response.status_code == 503:
            assert response.headers["Retry-After"]
    finally:
        swift_images.swift.start(kind)
    swift_images.swift.stop("proxy")
    swift_images.swift.start("proxy")
    assert get(api, "/v1/images/down").body == SMALL


def test_proxy_that_is_down(swift_images: Images, make_api: Any) -> None:
    api = make_api(connect_retries=1, connect_retry_delay=0.1)
    swift_images.swift.stop("proxy")
    try:
        response = get(api, "/v1/images/any")
    finally:
        swift_images.swift.start("proxy")
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "30"


# The command.


def test_check(swift_images: Images) -> None:
    config = swift_images.configure()
    command = [str(BIN / "imageapi"), "--config-file", str(config), "check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for container in ("records", "images"):
        assert (
            f"ok, container {container} at {swift_images.swift.account_url}/{container}"
            in done.stdout
        )
    config.write_text(config.read_text().replace("container = images", "container = absent"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"{swift_images.swift.account_url}/absent: the container does not exist" in done.stdout
    assert KEY not in done.stdout + done.stderr
