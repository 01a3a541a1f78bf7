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
    swift_configuration,
    upload_dlo,
    upload_slo,
    v1_options,
)

NO_RETRIES = {"connect_retries": 0, "status_code_retries": 0}


@pytest.fixture
def lists_client(swift: Swift) -> Iterator[swiftclient.Connection]:
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


def record_text(name: str, **fields: Any) -> bytes:
    document = {"status": "active", "is_public": True, "size": 1, "name": name, **fields}
    return json.dumps(document).encode()


def put_in_swift(client: swiftclient.Connection, image_id: str, name: str, **fields: Any) -> None:
    client.put_object("records", f"{image_id}.json", record_text(name, **fields))


def names_in_swift(api: imageapi.ImageAPI, parameters: str = "") -> list[str]:
    response = get(api, f"/v1/images?sort_key=name&sort_dir=asc{parameters}")
    assert response.status_code == 200, response.body
    return [image["name"] for image in json.loads(response.body)["images"]]


def test_lists_follow_the_container(lists_client: swiftclient.Connection, serve: Any) -> None:
    api = serve()
    assert names_in_swift(api) == []
    for number in range(30):
        put_in_swift(
            lists_client, f"id-{number}", f"{number:02}", properties={"parity": str(number % 2)}
        )
    put_in_swift(lists_client, "hidden", "hidden", is_public=False)
    lists_client.put_object("records", "bad.json", b"{}")
    lists_client.put_object("records", "other", b"{}")
    assert names_in_swift(api) == [f"{number:02}" for number in range(25)]
    assert names_in_swift(api, "&marker=id-24") == ["25", "26", "27", "28", "29"]
    assert names_in_swift(api, "&property-parity=1&marker=id-20&limit=2") == ["21", "23"]
    lists_client.delete_object("records", "id-29.json")
    put_in_swift(lists_client, "id-28", "00 again")
    put_in_swift(lists_client, "hidden", "99", is_public=True)
    assert names_in_swift(api, "&marker=id-24") == ["25", "26", "27", "99"]
    assert names_in_swift(api, "&limit=2") == ["00", "00 again"]


@pytest.mark.parametrize("upload", [upload_slo, upload_dlo])
def test_a_record_of_segments_is_read_for_each_list(
    lists_client: swiftclient.Connection, serve: Any, upload: Any
) -> None:
    api = serve()
    put_in_swift(lists_client, "plain", "z")
    for name in ("a", "b"):
        whole = record_text(name)
        segments = upload(lists_client, "records", "large.json", [whole[:20], whole[20:]])
        assert names_in_swift(api) == [name, "z"]
    lists_client.put_object("records_segments", segments[1], record_text("c")[20:])
    if upload is upload_dlo:
        # The manifest is the same as before.
        assert names_in_swift(api) == ["c", "z"]


def test_tokens_that_are_refused_in_the_middle(
    swift: Swift, lists_client: swiftclient.Connection, serve: Any
) -> None:
    for number in range(20):
        put_in_swift(lists_client, f"id-{number}", f"{number:02}")
    api = serve(**NO_RETRIES)
    registry = api.backends.registry.backend
    request = registry.account.request
    paths: list[str] = []

    def revoking(method: str, path: str, *arguments: Any, **named: Any) -> Any:
        paths.append(path)
        # Once in each list: a request that is refused twice fails, and with more
        # revocations some request might meet two of them.
        if len(paths) == 10:
            swift.revoke_tokens()
        return request(method, path, *arguments, **named)

    registry.account.request = revoking
    for _ in ("records are read for the index", "records are read for the page"):
        paths.clear()
        assert names_in_swift(api) == [f"{number:02}" for number in range(20)]
        assert len(paths) > 20


@pytest.mark.parametrize("kind", ["proxy", "container", "object"])
def test_a_server_that_is_down(
    swift: Swift, lists_client: swiftclient.Connection, serve: Any, kind: str
) -> None:
    """A list fails as a whole, whether or not records are known."""
    put_in_swift(lists_client, "one", "one")
    fresh, used = serve(**NO_RETRIES), serve(**NO_RETRIES)
    assert names_in_swift(used) == ["one"]
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
    assert names_in_swift(fresh) == names_in_swift(used) == ["one"]


@pytest.mark.parametrize("kind", ["container", "object"])
def test_a_server_that_hangs(
    swift: Swift, lists_client: swiftclient.Connection, serve: Any, kind: str
) -> None:
    for number in range(20):
        put_in_swift(lists_client, f"id-{number}", f"{number:02}")
    api = serve(timeout=2, **NO_RETRIES)
    swift.processes[kind].send_signal(signal.SIGSTOP)
    try:
        assert get(api, "/v1/images").status_code == 503
    finally:
        swift.processes[kind].send_signal(signal.SIGCONT)
    assert len(names_in_swift(api)) == 20
