# SPDX-License-Identifier: Apache-2.0
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from urllib3.response import HTTPResponse

from imageapi.backends.http_client.client import NotReached
from imageapi.backends.s3.data_writer import S3DataWriter
from imageapi.backends.writing import HashingReader, NewData, WriteError
from imageapi.errors import BackendUnavailable
from imageapi.image import Image, Location
from tests.unit.backends.s3.answered_client import AnsweredS3, s3_error
from tests.unit.backends.upstream import response

PART = 5
DATA = b"0123456789abc"

INITIATED = b"<R><UploadId>a&amp;b</UploadId></R>"
COMPLETED = b"<?xml version='1.0'?><CompleteMultipartUploadResult/>"


@pytest.fixture
def put_to_s3(answered_s3: AnsweredS3) -> Callable[..., NewData]:
    """Puts data whose size is unknown before its end."""
    answered_s3.store.segment_size = PART

    def put(data: bytes, *answers: Any) -> NewData:
        answered_s3.answers = list(answers)
        reader = HashingReader(io.BytesIO(data), lambda _: None)
        image = Image(id="i", status="queued")
        return S3DataWriter(answered_s3.store).put(image, reader, is_replacement=False)

    return put


def lines_of(s3: AnsweredS3) -> list[str]:
    """The requests, without the random part of the key."""
    return [
        re.sub("[0-9a-f]{32}", "RANDOM", f"{sent.method} {sent.url.removeprefix('http://s3')}")
        for sent in s3.sent
    ]


def part_answer(number: int) -> HTTPResponse:
    return response(200, ETag=f'"<{number}>"')


@pytest.mark.parametrize("data", [b"", b"01", b"01234"])
def test_small_data_is_one_request(answered_s3: AnsweredS3, put_to_s3: Any, data: bytes) -> None:
    with put_to_s3(data, response(200), response(204)) as new:
        assert re.fullmatch(r"s3://images/i%2F[0-9a-f]{32}", new.location.url)
        new.is_kept = True
    assert lines_of(answered_s3) == ["PUT /images/i/RANDOM"]
    assert answered_s3.sent[0].body == data


def test_large_data_is_uploaded_in_parts(answered_s3: AnsweredS3, put_to_s3: Any) -> None:
    answers = [response(200, INITIATED), *map(part_answer, (1, 2, 3)), response(200, COMPLETED)]
    with put_to_s3(DATA, *answers) as new:
        new.is_kept = True
    assert lines_of(answered_s3) == [
        "POST /images/i/RANDOM?uploads=",
        "PUT /images/i/RANDOM?partNumber=1&uploadId=a%26b",
        "PUT /images/i/RANDOM?partNumber=2&uploadId=a%26b",
        "PUT /images/i/RANDOM?partNumber=3&uploadId=a%26b",
        "POST /images/i/RANDOM?uploadId=a%26b",
    ]
    assert [sent.body for sent in answered_s3.sent[1:4]] == [b"01234", b"56789", b"abc"]
    assert b'<PartNumber>2</PartNumber><ETag>"&lt;2&gt;"</ETag>' in answered_s3.sent[4].body


def test_data_that_is_not_kept_is_removed_once(answered_s3: AnsweredS3, put_to_s3: Any) -> None:
    new = put_to_s3(b"x", response(200), response(204))
    new.close()
    new.close()
    assert lines_of(answered_s3)[1:] == ["DELETE /images/i/RANDOM"]


def test_a_completed_upload_is_removed_and_not_aborted(
    answered_s3: AnsweredS3, put_to_s3: Any
) -> None:
    parts = map(part_answer, (1, 2, 3))
    with put_to_s3(DATA, response(200, INITIATED), *parts, response(200, COMPLETED)):
        answered_s3.answers = [response(204)]
    assert lines_of(answered_s3)[5:] == ["DELETE /images/i/RANDOM"]


@pytest.mark.parametrize(
    ("answers", "cleaned"),
    [
        # The second part is refused.
        (
            [response(200, INITIATED), part_answer(1), s3_error(403, "AccessDenied")],
            ["DELETE /images/i/RANDOM?uploadId=a%26b"],
        ),
        # S3 begins the answer before it completes the upload.
        (
            [
                response(200, INITIATED),
                *map(part_answer, (1, 2, 3)),
                s3_error(200, "InternalError"),
            ],
            ["DELETE /images/i/RANDOM?uploadId=a%26b", "DELETE /images/i/RANDOM"],
        ),
        ([response(200, b"<R/>")], []),
        ([s3_error(404, "NoSuchBucket")], []),
    ],
)
def test_a_failed_upload_is_aborted(
    answered_s3: AnsweredS3, put_to_s3: Any, answers: list[HTTPResponse], cleaned: list[str]
) -> None:
    with pytest.raises(WriteError):
        put_to_s3(DATA, *answers, response(404), response(204))
    assert lines_of(answered_s3)[len(answers) :] == cleaned


def test_an_interruption_cleans_up_too(answered_s3: AnsweredS3, put_to_s3: Any) -> None:
    answered_s3.store.segment_size = 100

    def interrupt(*_: object, **__: object) -> None:
        answered_s3.answers = [response(204)]
        patch.undo()
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answered_s3.client, "request", interrupt)
        with pytest.raises(KeyboardInterrupt):
            put_to_s3(DATA)
    assert lines_of(answered_s3) == ["DELETE /images/i/RANDOM"]


def test_what_cannot_be_removed_is_logged(
    answered_s3: AnsweredS3, put_to_s3: Any, caplog: pytest.LogCaptureFixture
) -> None:
    down = [NotReached("down")] * 4
    with pytest.raises(BackendUnavailable):
        put_to_s3(DATA, response(200, INITIATED), *down, s3_error(403, "AccessDenied"))
    assert "clean-up stopped: " in caplog.text
    assert "could not be aborted: abort it with an S3 client" in caplog.text
    caplog.clear()
    put_to_s3(b"x", response(200), s3_error(403, "AccessDenied")).close()
    assert "could not be removed: remove it with an S3 client" in caplog.text


def test_data_with_too_many_parts_is_refused_at_once(answered_s3: AnsweredS3) -> None:
    reader = HashingReader(io.BytesIO(), lambda _: None, 10_000 * 64 * 2**20 + 1)
    with pytest.raises(WriteError, match="increase segment_size"):
        S3DataWriter(answered_s3.store).put(
            Image(id="i", status="queued"), reader, is_replacement=False
        )


@pytest.mark.parametrize("image_id", [".", "..", "x" * 255])
def test_ids_that_are_no_keys(answered_s3: AnsweredS3, image_id: str) -> None:
    answered_s3.answers = [response(200)]
    reader = HashingReader(io.BytesIO(b"x"), lambda _: None)
    image = Image(id=image_id, status="queued")
    writer = S3DataWriter(answered_s3.store)
    if len(image_id) > 2:
        writer.put(image, reader, is_replacement=False)
    else:
        with pytest.raises(WriteError, match="cannot be part of an S3 key"):
            writer.put(image, reader, is_replacement=False)


def test_only_its_own_data_is_owned(answered_s3: AnsweredS3) -> None:
    owns = S3DataWriter(answered_s3.store).owns
    name = "0" * 32
    assert owns("i", Location(f"s3://images/i%2F{name}"))
    assert owns("i", Location(f"s3+https://k:s@host/images/i%2F{name}"))
    for url in (
        f"s3://others/i%2F{name}",
        f"s3://images/j%2F{name}",
        f"s3://images/i2%2F{name}",
        "s3://images/i",
        "s3://images/i%2Fx",
        "file:///i",
    ):
        assert not owns("i", Location(url))


def test_removing_what_does_not_exist_is_no_error(answered_s3: AnsweredS3) -> None:
    writer = S3DataWriter(answered_s3.store)
    for answer in (response(204), s3_error(404, "NoSuchKey")):
        answered_s3.answers = [answer]
        writer.remove(Location("s3://images/i"))
    answered_s3.answers = [s3_error(403, "AccessDenied")]
    with pytest.raises(WriteError, match="these credentials do not allow it"):
        writer.remove(Location("s3://images/i"))


def test_leftovers_are_what_has_a_key_of_ours_and_no_record(answered_s3: AnsweredS3) -> None:
    names = [f"{one}/{'0' * 31}{number}" for number, one in enumerate("iij")]
    time = "<LastModified>2020-01-01T00:00:00Z</LastModified>"
    keys = [*names, "foreign", f"../{'0' * 32}"]
    contents = "".join(f"<Contents><Key>{key}</Key>{time}</Contents>" for key in keys)
    answered_s3.answers = [response(200, f"<R>{contents}</R>".encode()), response(200, b"<R/>")]
    used = [Location(f"s3://images/{names[0].replace('/', '%2F')}"), Location("file:///x")]
    found = list(S3DataWriter(answered_s3.store).leftovers(used))
    assert [one.name for one in found] == [f"images/{name}" for name in names[1:]]
    assert [one.image_id for one in found] == ["i", "j"]
    answered_s3.answers = [response(204)]
    found[0].remove()
    assert answered_s3.sent[-1].url == f"http://s3/images/{names[1]}"


def test_an_upload_that_was_not_completed_is_left_over_and_aborted(
    answered_s3: AnsweredS3,
) -> None:
    name = f"i/{'0' * 32}"
    time = "<Initiated>2020-01-01T00:00:00Z</Initiated>"
    upload = f"<Upload><Key>{name}</Key><UploadId>1</UploadId>{time}</Upload>"
    answered_s3.answers = [response(200, b"<R/>"), response(200, f"<R>{upload}</R>".encode())]
    (found,) = S3DataWriter(answered_s3.store).leftovers(())
    assert found.name == f"images/{name} (an upload that was not completed)"
    answered_s3.answers = [response(204)]
    found.remove()
    assert answered_s3.sent[-1].url == f"http://s3/images/{name}?uploadId=1"
