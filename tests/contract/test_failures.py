# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, When the registry fails, and When the data is not as the record says."""

import errno
import gc
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import webob
from hypothesis import given
from hypothesis import strategies as st
from webob import exc

from imageapi import Caller, ImageAPIMiddleware
from imageapi.caller import ANONYMOUS
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataForbidden,
    DataNotFound,
    LocationRefused,
    MalformedImage,
)
from imageapi.image import Image, Location
from imageapi.protocol import error_responses
from imageapi.visibility import Visibility
from tests.deployment import Deployment, close, received_of
from tests.deployment import get as get_file
from tests.memory import ADMIN, MEMBER, OTHER, Memory, blobs_without

BIG = bytes(range(256)) * 40
CHUNK = 1000


@pytest.fixture
def chunked(tmp_path: Path) -> Memory:
    """Chunks of 1000 bytes, so that BIG takes eleven.  All that is read is read to be sent."""
    memory = Memory(tmp_path, chunk_size=CHUNK, unsafe_images="serve")
    memory.put(BIG)
    return memory


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


def broken_off(memory: Memory, **given: Any) -> tuple[webob.Response, bytes]:
    """The response of a download that is broken off, and the bytes before the error."""
    response = memory.request(**given)
    received = b""
    with pytest.raises(BackendError):  # noqa: PT012 - which chunk raises is what is asked
        for chunk in response.app_iter:
            received += chunk
    with pytest.raises(BackendError):
        next(iter(response.app_iter))
    close(response)
    assert memory.store.open_blobs == 0
    return response, received


@pytest.mark.wire("registry-unavailable")
@pytest.mark.parametrize(("retry_after", "sent"), [(None, "30"), (7, "7"), (0, "0")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_registry_out_of_reach(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    retry_after: int | None,
    sent: str,
    method: str,
) -> None:
    monkeypatch.setattr(memory.registry, "get", raising(BackendUnavailable("down", retry_after)))
    response = memory.request(method=method)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == sent


@pytest.mark.wire("registry-bad-reply")
def test_registry_answers_badly(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.registry, "get", raising(BadReply("a teapot")))
    assert memory.get().status_code == 502
    assert memory.head().status_code == 502


@pytest.mark.wire("registry-malformed")
@pytest.mark.parametrize(
    "record",
    [
        "{",
        "[]",
        '"text"',
        '{"is_public": true}',
        '{"status": "activ"}',
        '{"status": "active", "is_public": "true"}',
        '{"status": "active", "is_public": null}',
        '{"status": "active", "id": "another"}',
        '{"status": "active", "size": -1}',
        '{"status": "active", "size": "1.5"}',
        '{"status": "active", "checksum": "x"}',
        '{"status": "active", "created_at": "yesterday"}',
        '{"status": "active", "properties": []}',
        '{"status": "active", "location": 1}',
        '{"images": []}',
        '{"images": [{"status": "active"}, {"status": "active"}]}',
        '{"status": "active", "visibility": "secret"}',
    ],
)
def test_malformed_record(
    deployment: Deployment, record: str, caplog: pytest.LogCaptureFixture
) -> None:
    deployment.add("good", b"data")
    deployment.record_path("i").write_text(record)
    api = deployment.api()
    for method in ("GET", "HEAD"):
        assert asked(api, method=method, caller=ADMIN).status_code == 500
    assert str(deployment.record_path("i")) in caplog.text
    assert get_file(api, "/v1/images/good").status_code == 200


def asked(
    api: Any, path: str = "/v1/images/i", method: str = "GET", caller: Caller = ANONYMOUS
) -> webob.Response:
    request = webob.Request.blank(path, method=method)
    request.environ["imageapi.caller"] = caller
    return request.send(api)


PRIVATE = {"is_public": False, "owner": "p1", "members": ["p2"]}
THIRD = Caller(user_id="u3", project_id="p3")


@pytest.mark.wire("registry-malformed-hidden")
@pytest.mark.parametrize(
    ("record", "knowing"),
    [
        ({"is_public": True}, [ANONYMOUS, MEMBER, OTHER, THIRD]),
        ({"visibility": "public"}, [ANONYMOUS, MEMBER, OTHER, THIRD]),
        (PRIVATE, [MEMBER, OTHER]),
        ({"visibility": "shared", "owner": "p1", "members": ["p2"]}, [MEMBER, OTHER]),
        ({}, []),
        ({"is_public": True, "deleted": True}, []),
        ({"is_public": True, "status": "pending_delete"}, []),
        # Where it does not say for certain, it says no.
        ({"is_public": True, "status": "activ"}, []),
        ({"is_public": True, "status": None}, []),
        ({"is_public": "true"}, []),
        ({"visibility": "publik"}, []),
        ({"is_public": True, "deleted": "no"}, []),
        ({**PRIVATE, "members": "p2"}, []),
        ({**PRIVATE, "owner": 1}, []),
        ({"is_public": True, "id": "another"}, []),
    ],
)
@pytest.mark.parametrize("caller", [ANONYMOUS, MEMBER, OTHER, THIRD, ADMIN])
def test_malformed_record_is_a_secret_as_others_are(
    deployment: Deployment,
    caplog: pytest.LogCaptureFixture,
    record: dict[str, Any],
    knowing: list[Caller],
    caller: Caller,
) -> None:
    record = {"status": "active", "size": -1, **record}
    deployment.record_path("i").write_text(json.dumps(record))
    api = deployment.api()
    for method, query in [("GET", ""), ("HEAD", ""), ("GET", "?format=json")]:
        answer = asked(api, f"/v1/images/i{query}", method, caller)
        if caller is ADMIN or caller in knowing:
            assert answer.status_code == 500
        else:
            absent = asked(api, f"/v1/images/j{query}", method, caller)
            assert (answer.status, answer.headerlist) == (absent.status, absent.headerlist)
            assert answer.body.replace(b"Image i ", b"Image j ") == absent.body
    # The log has the reason, whoever the caller is.
    lines = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(lines) == 3
    assert str(deployment.record_path("i")) in caplog.text


@pytest.mark.wire("registry-malformed-hidden")
@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', "[" * 5000, " " * 2**20 + "{}"])
@pytest.mark.parametrize(("caller", "status"), [(ANONYMOUS, 403), (ADMIN, 500)])
def test_record_that_cannot_be_read_is_nobodys(
    deployment: Deployment, tmp_path: Path, text: str, caller: Caller, status: int
) -> None:
    (tmp_path / "policy.yaml").write_text('"get_image": "project_id:%(owner)s"')
    deployment.configure(more=f"[imageapi_policy_rules]\npolicy_file = {tmp_path}/policy.yaml")
    deployment.record_path("i").write_text(text)
    api = deployment.api()
    assert asked(api, caller=caller).status_code == status
    assert asked(api, "/v1/images/absent").status_code == 403


@pytest.mark.wire("registry-malformed-hidden")
@pytest.mark.parametrize(
    ("error", "decides", "status"),
    [
        (MalformedImage("x"), False, 404),
        (MalformedImage("x"), True, 500),
        (MalformedImage("x", Visibility()), False, 404),
        (MalformedImage("x", Visibility()), True, 500),
        (MalformedImage("x", Visibility(is_deleted=True)), True, 404),
        (MalformedImage("x", Visibility(is_public=True)), False, 500),
        (BadReply("x"), False, 502),
        (BadReply("x", Visibility()), False, 404),
        (BadReply("x", Visibility()), True, 502),
        (BadReply("x", Visibility(is_public=True)), False, 502),
        (BackendError("x"), False, 500),
    ],
)
def test_failure_of_a_registry_is_a_secret_where_it_tells_of_a_record(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    decides: bool,
    status: int,
) -> None:
    monkeypatch.setattr(memory.registry, "get", raising(error))
    monkeypatch.setattr(memory.registry, "decides_visibility", decides)
    assert memory.get().status_code == status
    assert memory.get(caller=ADMIN).status_code in (500, 502)


@pytest.mark.wire("registry-malformed-hidden")
def test_other_image_of_a_registry_is_a_secret_too(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image(id="x", status="active", owner="p1")
    monkeypatch.setattr(memory.registry, "get", lambda *args: image)
    statuses = [memory.get(caller=who).status_code for who in (ANONYMOUS, MEMBER, OTHER, ADMIN)]
    assert statuses == [404, 500, 404, 500]


@pytest.mark.wire("registry-malformed")
def test_registry_that_answers_with_another_image(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        memory.registry, "get", lambda *args: Image(id="x", status="active", is_public=True)
    )
    assert memory.get().status_code == 500
    (record,) = caplog.records
    told = "image 'i': registry 'memory': get() returned another image, 'x'"
    assert record.getMessage() == told


@pytest.mark.wire("registry-malformed")
@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        ({"is_public": True, "checksum": "NOT AN MD5"}, [500, 500, 500, 500]),
        ({"owner": "p1", "size": "10"}, [404, 500, 404, 500]),
        ({"is_public": "true"}, [404, 404, 404, 500]),
    ],
)
def test_registry_that_makes_an_image_of_a_wrong_value(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fields: dict[str, Any],
    statuses: list[int],
) -> None:
    monkeypatch.setattr(
        memory.registry, "get", lambda *args: Image(id="i", status="active", **fields)
    )
    callers = (ANONYMOUS, MEMBER, OTHER, ADMIN)
    assert [memory.get(caller=who).status_code for who in callers] == statuses
    name, value = list(fields.items())[-1]
    for message in caplog.messages:
        assert message.startswith(f"image 'i': registry 'memory': {name} must be ")
        assert message.endswith(f", not {value!r}")
    assert len(caplog.messages) == len(statuses)


@pytest.mark.wire("registry-malformed")
def test_registry_with_a_bug(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory.registry, "get", raising(ZeroDivisionError("a bug")))
    response = memory.get()
    assert response.status_code == 500
    assert b"bug" not in response.body
    (record,) = caplog.records
    assert record.getMessage() == "image 'i': registry 'memory' raised ZeroDivisionError"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


OPEN_FAILURES = [
    (DataNotFound("SECRET"), 404),
    (DataForbidden("SECRET"), 403),
    (BackendUnavailable("SECRET"), 503),
    (DataChanged("SECRET"), 503),
    (BadReply("SECRET"), 502),
    (LocationRefused("SECRET"), 500),
    (BackendError("SECRET"), 500),
    (OSError("SECRET"), 500),
]


@pytest.mark.wire("data-not-found")
@pytest.mark.wire("data-unavailable")
@pytest.mark.wire("data-bad-reply")
@pytest.mark.wire("data-forbidden")
@pytest.mark.wire("data-refused")
@pytest.mark.parametrize(("error", "status"), OPEN_FAILURES)
@pytest.mark.parametrize("range_header", [None, "bytes=0-1"])
def test_open_fails(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    range_header: str | None,
) -> None:
    memory.put()
    monkeypatch.setattr(memory.store, "open", raising(error))
    response = memory.get(**({"Range": range_header} if range_header else {}))
    assert response.status_code == status
    assert b"SECRET" not in response.body
    assert ("Retry-After" in response.headers) == (status == 503)


@pytest.mark.wire("data-unavailable")
@pytest.mark.parametrize(("error", "status"), OPEN_FAILURES)
def test_first_chunk_fails(memory: Memory, error: Exception, status: int) -> None:
    memory.put()
    memory.store.fail(error, at=0, times=99)
    assert memory.get().status_code == status
    assert memory.store.open_blobs == 0


@pytest.mark.wire("data-refused")
@pytest.mark.parametrize(
    "location", [Location("rbd://pool/x"), Location("no-scheme"), Location("memory:i", "absent")]
)
def test_no_store_opens_it(memory: Memory, location: Location) -> None:
    memory.put(locations=(location,))
    assert memory.get().status_code == 500


@pytest.mark.wire("data-locations")
def test_named_store_opens_it(memory: Memory) -> None:
    memory.put(None, locations=(Location("memory:i", "second"),))
    memory.second.put("i", b"second")
    assert memory.get().body == b"second"


@pytest.mark.wire("data-locations")
@pytest.mark.parametrize(
    "wrong", ["absent", "down", "refused", "another size", "another checksum", "no store"]
)
def test_next_location_is_tried(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    first = Location("memory:i")
    memory.put(b"data", locations=(first, Location("memory:i", "second")))
    memory.second.put("i", b"data")
    spoil(memory, monkeypatch, wrong, first)
    for _ in range(2):
        assert memory.get().body == b"data"
    assert memory.store.open_blobs == 0


@pytest.mark.wire("data-locations")
@pytest.mark.parametrize(
    ("wrong", "status"), [("absent", 404), ("down", 503), ("refused", 500), ("another size", 500)]
)
def test_first_failure_answers(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, wrong: str, status: int
) -> None:
    first = Location("memory:i")
    memory.put(b"data", locations=(first, Location("rbd:x"), Location("memory:i", "second")))
    spoil(memory, monkeypatch, wrong, first)
    assert memory.get().status_code == status


def spoil(memory: Memory, monkeypatch: pytest.MonkeyPatch, wrong: str, first: Location) -> None:
    errors = {
        "absent": DataNotFound("x"),
        "down": BackendUnavailable("x"),
        "refused": LocationRefused("x"),
    }
    if wrong == "no store":
        image = memory.registry.get("i", Caller())
        memory.put(b"data", locations=(Location("rbd:x"), *image.locations[1:]))
    elif wrong in errors:
        monkeypatch.setattr(memory.store, "open", raising(errors[wrong]))
    else:
        memory.store.put("i", b"data!" if wrong == "another size" else b"DATA")


@pytest.mark.wire("data-size")
@pytest.mark.parametrize("data", [b"dat", b"data!", b""])
@pytest.mark.parametrize("range_header", [None, "bytes=0-1"])
def test_size_is_not_the_records(
    memory: Memory, data: bytes, range_header: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put(b"data")
    memory.store.put("i", data)
    assert memory.get(**({"Range": range_header} if range_header else {})).status_code == 500
    assert memory.store.open_blobs == 0
    assert f"{len(data)} bytes, not 4 as its record says" in caplog.text


@pytest.mark.wire("data-checksum-first-chunk")
@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK])
def test_checksum_of_what_fits_the_first_chunk(chunked: Memory, size: int) -> None:
    chunked.put(b"x" * size)
    chunked.store.put("i", b"y" * size)
    assert chunked.get().status_code == 500
    assert chunked.store.open_blobs == 0


@pytest.mark.wire("data-checksum-first-chunk")
def test_surplus_of_what_fits_the_first_chunk(chunked: Memory) -> None:
    chunked.put(b"x" * 10, checksum=None)
    chunked.store.give(b"more", at=10)
    assert chunked.get().status_code == 500


@pytest.mark.wire("data-ends-early")
@pytest.mark.parametrize("error", [BackendUnavailable("reset"), OSError("a bug"), None])
@pytest.mark.parametrize("position", [1, CHUNK, CHUNK + 1, 5 * CHUNK, 10 * CHUNK])
def test_data_that_ends_early_is_resumed(
    chunked: Memory, error: Exception | None, position: int, caplog: pytest.LogCaptureFixture
) -> None:
    if error is None:
        chunked.store.give(b"", at=position)
    else:
        chunked.store.fail(error, at=position)
    response = chunked.get()
    assert (response.status_code, response.body) == (200, BIG)
    assert chunked.store.opened == 2
    assert chunked.store.open_blobs == 0
    assert f"resuming at byte {position}" in caplog.text


@pytest.mark.wire("data-ends-early")
@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_resumed_so_often_a_response(tmp_path: Path, attempts: int) -> None:
    memory = Memory(tmp_path, chunk_size=CHUNK, resume_attempts=attempts)
    memory.put(BIG)
    for _ in range(attempts):
        memory.store.fail(BackendUnavailable("reset"), at=2 * CHUNK)
    assert memory.get().body == BIG
    memory.store.opened = 0
    memory.store.fail(BackendUnavailable("reset"), at=2 * CHUNK, times=attempts + 1)
    response, received = broken_off(memory)
    assert response.status_code == 200
    assert received == BIG[: 2 * CHUNK]
    assert memory.store.opened == attempts + 1


@pytest.mark.wire("data-ends-early")
def test_a_part_is_resumed_within_itself(chunked: Memory) -> None:
    chunked.store.fail(BackendUnavailable("reset"), at=4 * CHUNK)
    response = chunked.get(Range="bytes=1500-7499")
    assert (response.status_code, response.body) == (206, BIG[1500:7500])


@pytest.mark.wire("data-ends-early")
def test_never_resumed_without_a_version(chunked: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs_without(monkeypatch, chunked, "version")
    chunked.store.fail(BackendUnavailable("reset"), at=2 * CHUNK)
    assert broken_off(chunked)[1] == BIG[: 2 * CHUNK]
    assert chunked.store.opened == 1


@pytest.mark.wire("data-ends-early")
@pytest.mark.parametrize("told", [True, False])
def test_never_resumed_from_other_bytes(
    chunked: Memory, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    opens = chunked.store.open

    def open_after_a_change(location: Location, **asked: Any) -> Any:
        if asked["start"]:
            chunked.store.put("i", BIG[::-1])
            asked["version"] = asked["version"] if told else None
        return opens(location, **asked)

    monkeypatch.setattr(chunked.store, "open", open_after_a_change)
    chunked.store.fail(BackendUnavailable("reset"), at=3 * CHUNK)
    assert broken_off(chunked)[1] == BIG[: 3 * CHUNK]


@pytest.mark.wire("data-runs-over")
@pytest.mark.parametrize("surplus", [b"!", b"!" * 5 * CHUNK])
@pytest.mark.parametrize("range_header", [None, "bytes=0-5499"])
def test_data_that_runs_over_is_cut(
    chunked: Memory, surplus: bytes, range_header: str | None
) -> None:
    length = 5500 if range_header else len(BIG)
    chunked.put(BIG, checksum=None)
    chunked.store.give(surplus, at=length)
    given = {"Range": range_header} if range_header else {}
    response, received = broken_off(chunked, **given)
    assert response.headers["Content-Length"] == str(length)
    assert received == BIG[: length // CHUNK * CHUNK]


@pytest.mark.wire("data-checksum")
@pytest.mark.parametrize("wrong_byte", [0, 4 * CHUNK, len(BIG) - 1])
@pytest.mark.parametrize("mode", ["once", "always"])
def test_last_chunk_is_held_back_until_the_checksum_is_right(
    tmp_path: Path, wrong_byte: int, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = Memory(tmp_path, chunk_size=CHUNK, verify_checksum=mode)
    memory.put(BIG)
    wrong = bytearray(BIG)
    wrong[wrong_byte] ^= 1
    memory.store.put("i", bytes(wrong))
    response, received = broken_off(memory)
    assert response.status_code == 200
    assert received == bytes(wrong[: 10 * CHUNK])
    assert hashlib.md5(BIG).hexdigest() in caplog.text


@pytest.mark.wire("data-checksum")
def test_never_verified_when_told_so(tmp_path: Path) -> None:
    memory = Memory(tmp_path, verify_checksum="never")
    memory.put(b"data")
    memory.store.put("i", b"DATA")
    assert memory.get().body == b"DATA"


@pytest.mark.wire("data-checksum")
@pytest.mark.parametrize(("mode", "hashed"), [("once", 1), ("always", 3), ("never", 0)])
def test_how_often_it_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, hashed: int
) -> None:
    memory = Memory(tmp_path, verify_checksum=mode)
    memory.put(b"data")
    count = [0]
    new = hashlib.new

    def counted(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        return new(*args, **kwargs)

    monkeypatch.setattr(hashlib, "new", counted)
    for _ in range(3):
        assert memory.get().body == b"data"
        assert memory.get(Range="bytes=1-2").body == b"at"
    assert count[0] == hashed


@pytest.mark.wire("data-checksum")
def test_a_new_version_is_verified_again(memory: Memory) -> None:
    memory.put(b"data")
    assert memory.get().body == b"data"
    memory.store.put("i", b"DATA")
    assert memory.get().status_code == 500


@pytest.mark.wire("data-checksum")
def test_a_new_checksum_is_verified_again(memory: Memory) -> None:
    memory.put(b"data")
    assert memory.get().body == b"data"
    memory.registry.put(Image(id="i", status="active", is_public=True, checksum="0" * 32))
    assert memory.get().status_code == 500


@pytest.mark.wire("data-checksum")
def test_os_hash_is_verified_instead_of_the_md5(memory: Memory) -> None:
    digest = hashlib.sha512(b"data").hexdigest().upper()
    memory.put(b"data", os_hash_algo="sha512", os_hash_value=digest, checksum="0" * 32)
    response = memory.get()
    assert (response.status_code, response.headers["Etag"]) == (200, "0" * 32)
    memory.put(b"data", os_hash_algo="sha512", os_hash_value=digest[::-1])
    assert memory.get().status_code == 500


@pytest.mark.wire("data-checksum")
@pytest.mark.parametrize("algorithm", ["no-such-hash", "shake_128"])
def test_hash_that_cannot_be_computed(
    memory: Memory, algorithm: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put(b"data", os_hash_algo=algorithm, os_hash_value="00")
    assert memory.get().status_code == 500
    assert "verify_checksum = never" in caplog.text
    assert memory.store.open_blobs == 0


@pytest.mark.wire("data-checksum")
def test_md5_refused_by_the_platform_is_told(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put(b"data")
    monkeypatch.setattr(hashlib, "new", raising(ValueError("disabled for FIPS")))
    assert memory.get().status_code == 500
    assert "cannot compute 'md5'" in caplog.text


@pytest.mark.wire("data-parts")
@pytest.mark.parametrize("range_header", ["bytes=0-", f"bytes=-{len(BIG)}"])
def test_a_part_that_is_the_whole_is_checked(chunked: Memory, range_header: str) -> None:
    chunked.store.put("i", BIG[:-1] + b"!")
    assert broken_off(chunked, Range=range_header)[0].status_code == 206


@pytest.mark.wire("data-checksum")
@pytest.mark.parametrize("size", [None, len(BIG)])
def test_data_of_unknown_size_is_verified_too(
    chunked: Memory, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    chunked.put(BIG, size=size)
    blobs_without(monkeypatch, chunked, "total_size")
    assert chunked.get().body == BIG
    chunked.store.put("i", BIG[:-1] + b"!")
    assert broken_off(chunked)[1] == BIG[: 10 * CHUNK]


@pytest.mark.wire("data-locations")
def test_closing_that_fails_spoils_nothing(
    chunked: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opens = chunked.store.open

    def open_unclosable(*args: Any, **kwargs: Any) -> Any:
        blob = opens(*args, **kwargs)
        monkeypatch.setattr(blob, "close", raising(RuntimeError("a bug")))
        return blob

    monkeypatch.setattr(chunked.store, "open", open_unclosable)
    assert chunked.get().body == BIG
    assert "closing failed" in caplog.text


def test_what_a_backend_wraps_is_not_logged(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    """Another library's text can contain secrets. Only a bug is logged with its traceback."""
    memory.put()
    error = BackendUnavailable("out of reach")
    error.__cause__ = OSError("GET /?token=s3cret")
    memory.store.fail(error, times=99)
    assert memory.get().status_code == 503
    memory.store.heal()
    memory.store.fail(error, at=0, times=99)
    assert memory.get().status_code == 503
    assert "out of reach" in caplog.text
    assert "s3cret" not in caplog.text
    memory.store.heal()
    memory.store.fail(OSError("a bug"))
    assert memory.get().status_code == 500
    assert "OSError: a bug" in caplog.text


@pytest.mark.wire("data-not-found")
def test_log_has_one_line_for_what_is_no_bug(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put(None)
    assert memory.get().status_code == 404
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info in (None, (None, None, None))
    assert record.getMessage() == "image 'i': store 'memory': no data was put at this location"


FAULTS = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(["drop", "end", "more", "other"])), max_size=6
)


@pytest.mark.wire("data-checksum")
@given(
    st.binary(max_size=60), st.integers(1, 20), FAULTS, st.sampled_from([None, "0-", "3-9", "-5"])
)
def test_never_a_complete_wrong_body(
    tmp_path_factory: pytest.TempPathFactory,
    data: bytes,
    chunk_size: int,
    faults: list[tuple[int, str]],
    wanted: str | None,
) -> None:
    """Whatever the store does, a whole body that ends without an error has the right bytes."""
    memory = Memory(tmp_path_factory.mktemp("any"), chunk_size=chunk_size)
    memory.put(data)
    for position, kind in faults:
        if kind == "drop":
            memory.store.fail(BackendUnavailable("reset"), at=position)
        else:
            other = data[position : position + chunk_size][::-1]
            given = {"end": b"", "more": b"more", "other": other}
            memory.store.give(given[kind], at=position)
    headers: dict[str, Any] = {"Range": f"bytes={wanted}"} if wanted else {}
    response = memory.request(**headers)
    if response.status_code in (200, 206):
        length = int(response.headers["Content-Length"])
        received, ended = received_of(response)
        assert (len(received) == length) is ended
        assert not (ended and response.status_code == 200) or received == data
    assert memory.store.open_blobs == 0


@pytest.mark.wire("data-ends-early")
@pytest.mark.parametrize("checksum", [None, hashlib.md5(BIG).hexdigest()])
def test_data_of_unknown_size_is_resumed_where_it_broke_off(
    chunked: Memory, monkeypatch: pytest.MonkeyPatch, checksum: str | None
) -> None:
    chunked.put(BIG, size=None, checksum=checksum)
    blobs_without(monkeypatch, chunked, "total_size")
    chunked.store.fail(BackendUnavailable("reset"), at=5 * CHUNK)
    assert chunked.get().body == BIG
    assert chunked.store.opened == 2


@pytest.mark.wire("data-refused")
def test_errors_do_not_pile_up(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The traceback of an exception that is kept and raised again would grow each time."""
    memory.put(locations=(Location("rbd:x"),))
    raised: list[BaseException] = []
    failure = error_responses.failure

    def noted(error: BackendError, image_id: str) -> exc.HTTPException:
        raised.append(error)
        return failure(error, image_id)

    monkeypatch.setattr(error_responses, "failure", noted)
    for _ in range(2):
        assert memory.get().status_code == 500
    assert raised[0] is not raised[1]


class Bare:
    """An object that a plugin could return by mistake instead of a Blob or an Image."""

    id = "i"
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.wire("data-refused")
def test_blob_that_is_none(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory.put()
    bare = Bare()
    monkeypatch.setattr(memory.store, "open", lambda *args, **kwargs: bare)
    assert memory.get().status_code == 500
    assert bare.closed
    assert "store 'memory': open() must return a Blob, not Bare" in caplog.text


@pytest.mark.wire("registry-malformed")
@pytest.mark.parametrize(
    "image", [None, Bare(), Image(id="i", status="active", is_public=True, properties={"a": {1}})]
)
def test_image_that_is_none(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    image: object,
) -> None:
    monkeypatch.setattr(memory.registry, "get", lambda *args: image)
    assert memory.get().status_code == 500
    assert "registry 'memory'" in caplog.text


@pytest.mark.wire("data-ends-early")
def test_body_that_was_closed_does_not_end_as_if_it_were_whole(chunked: Memory) -> None:
    response = chunked.request()
    close(response)
    with pytest.raises(BackendError):
        b"".join(response.app_iter)
    assert chunked.store.open_blobs == 0


@pytest.mark.wire("data-checksum-first-chunk")
def test_whole_body_that_was_closed_is_still_there(chunked: Memory) -> None:
    chunked.put(b"data")
    response = chunked.request()
    close(response)
    assert b"".join(response.app_iter) == b"data"


@pytest.mark.wire("data-locations")
@pytest.mark.parametrize("path", ["app", "filter"])
def test_data_is_closed_when_the_answer_cannot_be_started(chunked: Memory, path: str) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("the server refuses a header")

    app: Any = chunked.api
    if path == "filter":
        app = ImageAPIMiddleware.__new__(ImageAPIMiddleware)
        app.api = chunked.api
    with pytest.raises(RuntimeError):
        app(webob.Request.blank("/v1/images/i").environ, fail)
    assert (chunked.store.opened, chunked.store.open_blobs) == (1, 0)


@pytest.mark.wire("data-locations")
def test_data_is_closed_when_the_environ_is_broken(chunked: Memory) -> None:
    environ = webob.Request.blank("/v1/images/i").environ
    del environ["HTTP_HOST"], environ["SERVER_NAME"]
    with pytest.raises(TypeError):
        chunked.api(environ, lambda *args: lambda data: None)
    assert chunked.store.open_blobs == 0


@pytest.mark.wire("data-size")
def test_store_whose_closing_fails_too(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.put(b"data", locations=(Location("memory:i"), Location("memory:i", "second")))
    memory.second.put("i", b"data")
    opens = memory.store.open

    def open_unclosable(*args: Any, **kwargs: Any) -> Any:
        blob = opens(*args, **kwargs)
        blob.total_size = 5
        monkeypatch.setattr(blob, "close", raising(OSError("a bug")))
        return blob

    monkeypatch.setattr(memory.store, "open", open_unclosable)
    assert memory.get().body == b"data"


@pytest.mark.wire("data-not-found")
def test_failures_leave_no_cycles(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.put(None, size=4)
    memory.get()
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            memory.get()
        assert gc.collect() < 50
    finally:
        gc.enable()


@pytest.mark.wire("registry-malformed")
@pytest.mark.parametrize(
    "fields",
    [
        {"is_public": "false"},
        {"deleted": 0},
        {"members": "p10 p20"},
        {"size": -5},
        {"size": True},
        {"status": "Active"},
    ],
)
def test_image_of_wrong_types_cannot_be_made(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedImage):
        Image(**{"id": "i", "status": "active", **fields})


@pytest.mark.wire("data-checksum")
@pytest.mark.wire("registry-malformed")
@pytest.mark.parametrize("name", ["md5\0", "\0", "\ud800", "md5\n", "\u00e9", "", "no-hash", "-"])
def test_name_of_a_hash_that_there_cannot_be(deployment: Deployment, name: str) -> None:
    deployment.add("i", b"data", os_hash_algo=name, os_hash_value="00")
    assert asked(deployment.api()).status_code == 500


@pytest.mark.wire("data-checksum")
def test_half_an_os_hash_is_none(memory: Memory) -> None:
    memory.put(b"data", os_hash_algo="sha512")
    assert memory.get().body == b"data"
    memory.put(b"data", os_hash_algo="sha512", checksum="0" * 32)
    assert memory.get().status_code == 500


@pytest.mark.wire("data-ends-early")
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_read_that_fails_once_is_resumed_from_files(
    deployment: Deployment, settled: None, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    deployment.configure(core="chunk_size = 1000")
    deployment.add("i", BIG)
    api = deployment.api()
    assert get_file(api, "/v1/images/i").body == BIG
    reads = []
    read = os.read

    def failing(descriptor: int, size: int) -> bytes:
        reads.append(descriptor)
        if len(reads) == 5:
            raise OSError(number, os.strerror(number))
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", failing)
    assert get_file(api, "/v1/images/i").body == BIG
    assert len(reads) > 5
