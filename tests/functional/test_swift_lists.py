# SPDX-License-Identifier: Apache-2.0
"""Lists of records in a real Swift, and with its faults."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import swiftclient

import imageapi
from tests.deployment import get
from tests.functional.swift import (
    Swift,
    running_swift,
    swift_configuration,
    upload_dlo,
    upload_slo,
    v1_options,
)

NO_RETRIES = {"connect_retries": 0, "status_code_retries": 0}


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture
def client(swift: Swift) -> Iterator[swiftclient.Connection]:
    """Logged in, with an empty container of records."""
    with closing(swift.client()) as client:
        client.put_container("records")
        yield client
        for entry in client.get_container("records", full_listing=True)[1]:
            client.delete_object("records", entry["name"])


@pytest.fixture
def serve(swift: Swift, tmp_path: Path) -> Iterator[Callable[..., imageapi.ImageAPI]]:
    """Makes an ImageAPI in this process."""
    made: list[imageapi.ImageAPI] = []

    def make(**cloud: Any) -> imageapi.ImageAPI:
        config = tmp_path / "imageapi.conf"
        config.write_text(swift_configuration({**v1_options(swift), **cloud}))
        made.append(imageapi.ImageAPI(imageapi.load_config([config])))
        return made[-1]

    yield make
    for api in made:
        api.close()


def record(name: str, **fields: Any) -> bytes:
    document = {"status": "active", "is_public": True, "size": 1, "name": name, **fields}
    return json.dumps(document).encode()


def put(client: swiftclient.Connection, image_id: str, name: str, **fields: Any) -> None:
    client.put_object("records", f"{image_id}.json", record(name, **fields))


def names(api: imageapi.ImageAPI, parameters: str = "") -> list[str]:
    response = get(api, f"/v1/images?sort_key=name&sort_dir=asc{parameters}")
    assert response.status_code == 200, response.body
    return [image["name"] for image in json.loads(response.body)["images"]]


def test_lists_follow_the_container(client: swiftclient.Connection, serve: Any) -> None:
    api = serve()
    assert names(api) == []
    for number in range(30):
        put(client, f"id-{number}", f"{number:02}", properties={"parity": str(number % 2)})
    put(client, "hidden", "hidden", is_public=False)
    client.put_object("records", "bad.json", b"{}")
    client.put_object("records", "other", b"{}")
    assert names(api) == [f"{number:02}" for number in range(25)]
    assert names(api, "&marker=id-24") == ["25", "26", "27", "28", "29"]
    assert names(api, "&property-parity=1&marker=id-20&limit=2") == ["21", "23"]
    client.delete_object("records", "id-29.json")
    put(client, "id-28", "00 again")
    put(client, "hidden", "99", is_public=True)
    assert names(api, "&marker=id-24") == ["25", "26", "27", "99"]
    assert names(api, "&limit=2") == ["00", "00 again"]


@pytest.mark.parametrize("upload", [upload_slo, upload_dlo])
def test_a_record_of_segments_is_read_for_each_list(
    client: swiftclient.Connection, serve: Any, upload: Any
) -> None:
    api = serve()
    put(client, "plain", "z")
    for name in ("a", "b"):
        whole = record(name)
        segments = upload(client, "records", "large.json", [whole[:20], whole[20:]])
        assert names(api) == [name, "z"]
    client.put_object("records_segments", segments[1], record("c")[20:])
    if upload is upload_dlo:
        # The manifest is the same as before.
        assert names(api) == ["c", "z"]


def test_tokens_that_are_refused_in_the_middle(
    swift: Swift, client: swiftclient.Connection, serve: Any
) -> None:
    for number in range(20):
        put(client, f"id-{number}", f"{number:02}")
    api = serve(**NO_RETRIES)
    registry = api.backends.registry.backend
    request = registry.account.request
    paths: list[str] = []

    def revoking(method: str, path: str, *arguments: Any, **named: Any) -> Any:
        paths.append(path)
        if len(paths) % 10 == 0:
            swift.revoke_tokens()
        return request(method, path, *arguments, **named)

    registry.account.request = revoking
    assert names(api) == [f"{number:02}" for number in range(20)]
    assert len(paths) > 40


@pytest.mark.parametrize("kind", ["proxy", "container", "object"])
def test_a_server_that_is_down(
    swift: Swift, client: swiftclient.Connection, serve: Any, kind: str
) -> None:
    """A list fails as a whole, whether or not records are known."""
    put(client, "one", "one")
    fresh, used = serve(**NO_RETRIES), serve(**NO_RETRIES)
    assert names(used) == ["one"]
    swift.stop(kind)
    try:
        for api in (fresh, used):
            response = get(api, "/v1/images")
            assert response.status_code == 503, response.body
            assert response.headers["Retry-After"]
    finally:
        swift.start(kind)
    swift.stop("proxy")
    swift.start("proxy")
    assert names(fresh) == names(used) == ["one"]


@pytest.mark.parametrize("kind", ["container", "object"])
def test_a_server_that_hangs(
    swift: Swift, client: swiftclient.Connection, serve: Any, kind: str
) -> None:
    for number in range(20):
        put(client, f"id-{number}", f"{number:02}")
    api = serve(timeout=2, **NO_RETRIES)
    swift.processes[kind].send_signal(signal.SIGSTOP)
    try:
        assert get(api, "/v1/images").status_code == 503
    finally:
        swift.processes[kind].send_signal(signal.SIGCONT)
    assert len(names(api)) == 20
