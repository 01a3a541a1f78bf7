# SPDX-License-Identifier: Apache-2.0
"""The S3 store with the S3 that a real Swift speaks, and with its faults."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import swiftclient

from imageapi.backends.http_client import retries
from imageapi.backends.s3.store import S3Store
from imageapi.errors import BackendError
from imageapi.testing.suite import build
from tests.deployment import Deployment, get
from tests.functional.raw_client import Pause
from tests.functional.s3 import ACCESS_KEY, s3_options
from tests.functional.swift import KEY, Swift, upload_slo
from tests.functional.test_swift import DATA, MIB, SEGMENTS, download_raw

SMALL = DATA[:100_000]


@pytest.fixture(scope="module", autouse=True)
def buckets(swift: Swift) -> None:
    with closing(swift.client()) as client:
        for bucket in ("images", "images_segments", "others", "foreign"):
            client.put_container(bucket)


class S3Images(Deployment):
    """Records in files, and their data in S3."""

    def __init__(self, folder: Path, swift: Swift, client: swiftclient.Connection) -> None:
        super().__init__(folder)
        self.swift = swift
        self.client = client
        self.use()

    def use(self, **options: Any) -> Path:
        """Write the configuration of the store."""
        options = {"bucket": "images", **s3_options(self.swift), **options}
        lines = "\n".join(f"{name} = {value}" for name, value in options.items())
        self.configure("stores = s3\npolicy = visible", f"[imageapi_store_s3]\n{lines}")
        return self.config_file

    def upload(self, image_id: str, data: bytes = SMALL, **fields: Any) -> None:
        self.client.put_object("images", image_id, data)
        self.add(image_id, data, **fields)

    def status(self, image_id: str, **options: Any) -> int:
        """The status of a download with other options of the store."""
        self.use(**options)
        with closing(self.api()) as api:
            return int(get(api, f"/v1/images/{image_id}").status_code)


@pytest.fixture
def s3_images(swift: Swift, tmp_path: Path) -> Iterator[S3Images]:
    with closing(swift.client()) as client:
        yield S3Images(tmp_path, swift, client)


# Without faults.


@pytest.mark.parametrize("kind", ["plain", "multipart"])
def test_s3_downloads(s3_images: S3Images, kind: str) -> None:
    if kind == "plain":
        s3_images.upload(kind, DATA)
    else:
        upload_slo(s3_images.client, "images", kind, SEGMENTS)
        s3_images.add(kind, DATA)
    with closing(s3_images.api()) as api:
        response = get(api, f"/v1/images/{kind}")
        assert (response.status_code, response.body) == (200, DATA)
        part = get(api, f"/v1/images/{kind}", Range="bytes=8388600-16777300")
        assert (part.status_code, part.body) == (206, DATA[8388600:16777301])


@pytest.mark.parametrize(
    "url",
    [
        "s3://images/located",
        "s3://AKIA:wr0ng/secret@s3.amazonaws.com/images/located",
        "s3+http://127.0.0.1:1/images/located",
        "s3+https://AKIA:wr0ng@127.0.0.1:1/images/located",
        "s3://others/located%2Fin%20a%20folder",
        "s3://images/l%C3%B6cated%21%27%28%29%2A",
    ],
)
def test_s3_locations(s3_images: S3Images, url: str) -> None:
    """Glance's credentials and server are not used."""
    for bucket, key in (
        ("images", "located"),
        ("others", "located/in a folder"),
        ("images", "l\N{LATIN SMALL LETTER O WITH DIAERESIS}cated!'()*"),
    ):
        s3_images.client.put_object(bucket, key, SMALL)
    s3_images.add("i", SMALL, locations=[url])
    s3_images.use(allowed_buckets="others")
    with closing(s3_images.api()) as api:
        assert get(api, "/v1/images/i").body == SMALL


def test_a_bucket_that_is_not_allowed(
    s3_images: S3Images, caplog: pytest.LogCaptureFixture
) -> None:
    s3_images.client.put_object("foreign", "i", SMALL)
    s3_images.add("i", SMALL, locations=["s3://AKIA:s3cret@host/foreign/i"])
    assert s3_images.status("i") == 500
    assert "is not in allowed_buckets" in caplog.text
    assert "s3cret" not in caplog.text


def test_s3_check(swift: Swift) -> None:
    for bucket, options, told in (
        ("images", {}, f"bucket images at {swift.url}/images/"),
        ("absent", {}, "the bucket does not exist: create it"),
        ("images", {"secret_key": "wr0ng"}, "status 403: a key is wrong, or"),
        ("images", {"access_key": "acme:absent"}, "status 403: a key is wrong, or"),
    ):
        store = build(S3Store, bucket=bucket, **s3_options(swift, **options))
        try:
            said = store.check()
        except BackendError as error:
            said = str(error)
        store.close()
        assert told in said
        assert "wr0ng" not in said


# Faults.


@pytest.mark.parametrize(
    ("image_id", "options", "status"),
    [
        ("here", {}, 200),
        ("absent", {}, 404),
        ("here", {"bucket": "gone"}, 503),
        ("here", {"secret_key": "wr0ng"}, 502),
        ("here", {"access_key": "acme:absent"}, 502),
    ],
)
def test_s3_errors(
    s3_images: S3Images,
    caplog: pytest.LogCaptureFixture,
    image_id: str,
    options: dict[str, Any],
    status: int,
) -> None:
    s3_images.upload("here")
    s3_images.add("absent", SMALL)
    assert s3_images.status(image_id, **options) == status
    assert "wr0ng" not in caplog.text
    assert KEY not in caplog.text


def in_the_middle(images: S3Images, do: Callable[[], object]) -> Any:
    """Download the image ``i``, and do something after its first two MiB."""
    images.upload("i", DATA)
    return download_raw(images.use(), "i", Pause(2 * MIB, do))


def test_s3_server_that_is_killed_and_comes_back(s3_images: S3Images) -> None:
    """The client notices nothing."""
    starter = threading.Timer(1, s3_images.swift.start, ["proxy"])

    def kill() -> None:
        s3_images.swift.stop("proxy")
        starter.start()

    answer = in_the_middle(s3_images, kill)
    starter.join()
    assert (answer.status, answer.body, answer.connection) == (200, DATA, "open")
    assert "resuming at byte" in (s3_images.folder / "server.log").read_text()


def test_s3_server_that_is_frozen_and_thaws(s3_images: S3Images) -> None:
    """The client notices nothing."""
    proxy = s3_images.swift.processes["proxy"].pid
    thaw = threading.Timer(1, os.kill, [proxy, signal.SIGCONT])

    def freeze() -> None:
        os.kill(proxy, signal.SIGSTOP)
        thaw.start()

    answer = in_the_middle(s3_images, freeze)
    thaw.join()
    assert (answer.status, answer.body, answer.connection) == (200, DATA, "open")


def restarted(swift: Swift, change: Callable[[], object]) -> Callable[[], None]:
    def restart() -> None:
        change()
        swift.stop("proxy")
        swift.start("proxy")

    return restart


def replace_object(images: S3Images) -> None:
    images.client.put_object("images", "i", DATA[::-1])


def remove_object(images: S3Images) -> None:
    images.client.delete_object("images", "i")


def remove_bucket(images: S3Images) -> None:
    for entry in images.client.get_container("images")[1]:
        images.client.delete_object("images", entry["name"])
    images.client.delete_container("images")


def truncate_file(images: S3Images) -> None:
    """As a fault of the disk of Swift's object server."""
    path = images.swift.data_file("AUTH_acme", "images", "i")
    with path.open("r+b") as file:
        file.truncate(len(DATA) - 1)


@pytest.mark.parametrize(
    ("change", "status"),
    [(replace_object, 200), (remove_object, 404), (remove_bucket, 503), (truncate_file, 404)],
)
def test_s3_data_that_changes_in_the_middle(
    s3_images: S3Images, change: Callable[[S3Images], None], status: int
) -> None:
    """What is sent is never complete, and never a mixture of both."""
    try:
        do = restarted(s3_images.swift, lambda: change(s3_images))
        answer = in_the_middle(s3_images, do)
        assert (answer.status, answer.connection) == (200, "closed")
        assert answer.body == DATA[: len(answer.body)]
        assert len(answer.body) < len(DATA)
        # The data is compared with its hash only after this status.
        assert s3_images.status("i") == status
    finally:
        s3_images.client.put_container("images")


def test_s3_credentials_that_are_revoked_in_the_middle(s3_images: S3Images) -> None:
    config = s3_images.swift.folder / "proxy-server.conf"
    text = config.read_text()

    def revoke() -> None:
        config.write_text(text.replace("user_acme_reader", "user_acme_other"))

    try:
        answer = in_the_middle(s3_images, restarted(s3_images.swift, revoke))
        status = s3_images.status("i")
    finally:
        restarted(s3_images.swift, lambda: config.write_text(text))()
    assert (answer.status, answer.connection) == (200, "closed")
    assert answer.body == DATA[: len(answer.body)]
    assert status == 502
    assert s3_images.status("i") == 200


def test_keys_in_a_file_are_read_again_if_they_are_refused(
    s3_images: S3Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a restart."""
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    keys = s3_images.folder / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    s3_images.upload("i")
    s3_images.use(access_key="", secret_key="")
    with closing(s3_images.api()) as api:
        for secret, status in (("wr0ng", 502), (KEY, 200), (KEY, 200)):
            lines = f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {secret}"
            keys.write_text(f"[default]\n{lines}\n")
            assert get(api, "/v1/images/i").status_code == status


def test_s3_server_that_is_down(s3_images: S3Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=lambda _: None))
    s3_images.upload("i")
    s3_images.swift.stop("proxy")
    try:
        assert s3_images.status("i") == 503
    finally:
        s3_images.swift.start("proxy")
