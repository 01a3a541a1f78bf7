# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md and docs/cache.md: a client sees the same answers with a cache as without it."""

import errno
import hashlib
import logging
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import webob

import imageapi
from imageapi.backends.file.store import FileStore
from imageapi.cache.files import CacheFile
from imageapi.cache.folder import CacheFolder, Filling
from imageapi.download import checksum
from imageapi.download.checksum import Checksum, Hasher
from imageapi.download.verified_stream import Body
from imageapi.errors import BackendUnavailable, DataForbidden
from tests.cached import CachedDeployment, Opens, api_of
from tests.deployment import close, get, received_of

DATA = random.Random(1).randbytes(5_000_003)


@pytest.fixture
def cached(tmp_path: Path) -> CachedDeployment:
    deployment = CachedDeployment(tmp_path / "deployment")
    deployment.add_hashed("i", DATA)
    return deployment


@pytest.fixture
def counted_opens(monkeypatch: pytest.MonkeyPatch) -> Opens:
    return Opens(monkeypatch)


@pytest.fixture
def cached_api(cached: CachedDeployment) -> Iterator[imageapi.ImageAPI]:
    with api_of(cached) as api:
        yield api


@pytest.fixture
def warm_api(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, counted_opens: Opens
) -> imageapi.ImageAPI:
    """The data of the image ``i`` is in the cache, and no open is counted yet."""
    assert get(cached_api, "/v1/images/i").body == DATA
    cached.wait_until_kept()
    counted_opens.parts.clear()
    return cached_api


def first_chunk(response: webob.Response) -> bytes:
    body = response.app_iter
    assert isinstance(body, Body)
    return next(body)


@pytest.mark.wire("cache-same-answer")
def test_data_is_read_once(warm_api: imageapi.ImageAPI, counted_opens: Opens) -> None:
    assert get(warm_api, "/v1/images/i").body == DATA
    part = get(warm_api, "/v1/images/i", Range="bytes=500-4999999")
    assert (part.status_code, part.body) == (206, DATA[500:5_000_000])
    assert get(warm_api, "/v1/images/i", Range="bytes=-7").body == DATA[-7:]
    assert counted_opens.parts == []


def test_many_clients_share_one_read(cached_api: imageapi.ImageAPI, counted_opens: Opens) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: get(cached_api, "/v1/images/i").body, range(20)))
    assert set(answers) == {DATA}
    assert counted_opens.parts == [0]


def test_data_is_kept_for_another_process(
    cached: CachedDeployment, warm_api: imageapi.ImageAPI, counted_opens: Opens
) -> None:
    with api_of(cached) as other:
        assert get(other, "/v1/images/i").body == DATA
    assert counted_opens.parts == []


def test_another_image_with_the_same_data_shares_it(
    cached: CachedDeployment, warm_api: imageapi.ImageAPI, counted_opens: Opens
) -> None:
    cached.add_hashed("j", DATA)
    assert get(warm_api, "/v1/images/j").body == DATA
    assert counted_opens.parts == []


def test_an_id_that_is_used_again_has_its_new_data(
    cached: CachedDeployment, warm_api: imageapi.ImageAPI
) -> None:
    cached.add_hashed("i", b"new")
    assert get(warm_api, "/v1/images/i").body == b"new"


@pytest.mark.wire("cache-asked")
def test_the_record_and_the_policy_are_asked_for_a_hit(
    cached: CachedDeployment, warm_api: imageapi.ImageAPI
) -> None:
    cached.add_hashed("i", DATA, status="deactivated")
    assert get(warm_api, "/v1/images/i").status_code == 403
    cached.add_hashed("i", DATA, is_public=False)
    assert get(warm_api, "/v1/images/i").status_code == 404


@pytest.mark.parametrize("header", ["bytes=0-9", "bytes=4990000-", "bytes=5-5000002"])
def test_a_part_fills_the_cache_too(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, counted_opens: Opens, header: str
) -> None:
    first, last = header.removeprefix("bytes=").split("-")
    expected = DATA[int(first) : int(last or len(DATA)) + 1]
    assert get(cached_api, "/v1/images/i", Range=header).body == expected
    cached.wait_until_kept()
    counted_opens.parts.clear()
    assert get(cached_api, "/v1/images/i", Range=header).body == expected
    assert counted_opens.parts == []


def test_a_client_that_leaves_does_not_end_the_fill(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, counted_opens: Opens
) -> None:
    response = get(cached_api, "/v1/images/i")
    assert first_chunk(response)
    close(response)
    cached.wait_until_kept()
    assert get(cached_api, "/v1/images/i").body == DATA
    assert counted_opens.parts == [0]


@pytest.mark.parametrize("wrong", [DATA[:-1] + b"x", b"x" + DATA[1:]])
def test_wrong_data_is_not_kept(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, wrong: bytes
) -> None:
    cached.data_path("i").write_bytes(wrong)
    received, is_whole = received_of(get(cached_api, "/v1/images/i"))
    assert not is_whole
    assert len(received) < len(DATA)
    cached.wait_until_nothing_is_filled()
    assert cached.names() == []


@pytest.mark.parametrize("wrong", [DATA[:-1], DATA + b"x"])
def test_data_of_the_wrong_size_is_not_kept(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, wrong: bytes
) -> None:
    cached.data_path("i").write_bytes(wrong)
    assert get(cached_api, "/v1/images/i").status_code == 500
    assert cached.names() == []


def test_data_that_is_absent(cached: CachedDeployment, cached_api: imageapi.ImageAPI) -> None:
    cached.data_path("i").unlink()
    assert get(cached_api, "/v1/images/i").status_code == 404
    assert cached.names() == []


def test_a_record_without_a_hash_or_a_size_is_not_kept(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI
) -> None:
    cached.add("none", DATA, checksum=None)
    cached.add_hashed("unsized", DATA, size=None)
    for image_id in ("none", "unsized"):
        assert get(cached_api, f"/v1/images/{image_id}").body == DATA
        assert cached.names() == []


def test_images_of_one_md5_in_two_places_share_nothing(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI
) -> None:
    """Anybody can make two data with the same MD5."""
    cached.add("a", b"data")
    cached.add("b", b"data")
    assert get(cached_api, "/v1/images/a").body == b"data"
    cached.wait_until_kept()
    cached.data_path("b").write_bytes(b"evil")
    assert get(cached_api, "/v1/images/a").body == b"data"
    assert get(cached_api, "/v1/images/b").status_code == 500


@pytest.mark.wire("cache-asked")
def test_a_store_that_decides_is_asked_in_the_name_of_the_caller(
    warm_api: imageapi.ImageAPI, monkeypatch: pytest.MonkeyPatch, counted_opens: Opens
) -> None:
    monkeypatch.setattr(FileStore, "decides_access", True)
    assert get(warm_api, "/v1/images/i").body == DATA
    assert counted_opens.parts == [0]

    def refuse(*_: Any, **__: Any) -> Any:
        raise DataForbidden("not for you")

    monkeypatch.setattr(FileStore, "open", refuse)
    assert get(warm_api, "/v1/images/i").status_code == 403


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2_500_000] ^= 1
    path.write_bytes(data)


def replace_the_file(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(bytes(len(DATA)))
    new.rename(path)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        replace_the_file,
        lambda path: os.truncate(path, 1000),
        lambda path: os.truncate(path, 0),
        lambda path: path.unlink(),
        lambda path: path.with_name(path.name + ".ok").unlink(),
        lambda path: path.with_name(path.name + ".ok").write_text("[1,"),
        lambda path: path.with_name(path.name + ".ok").write_text('["x"]'),
        lambda path: os.utime(path),
    ],
)
def test_a_damaged_file_is_fetched_again(
    cached: CachedDeployment, warm_api: imageapi.ImageAPI, counted_opens: Opens, damage: Any
) -> None:
    (path,) = cached.kept()
    damage(path)
    with api_of(cached) as other:
        assert get(other, "/v1/images/i").body == DATA
        cached.wait_until_kept()
        assert counted_opens.parts == [0]
        assert get(other, "/v1/images/i").body == DATA
        assert counted_opens.parts == [0]


@pytest.mark.parametrize("damage", [flip, replace_the_file, lambda path: os.truncate(path, 1000)])
def test_a_file_that_is_damaged_while_it_is_read(
    cached: CachedDeployment, warm_api: imageapi.ImageAPI, damage: Any
) -> None:
    response = get(warm_api, "/v1/images/i")
    received = first_chunk(response)
    (path,) = cached.kept()
    damage(path)
    rest, is_whole = received_of(response)
    assert is_whole
    assert received + rest == DATA


def test_data_that_is_removed_while_it_is_read(
    cached: CachedDeployment, warm_api: imageapi.ImageAPI, counted_opens: Opens
) -> None:
    response = get(warm_api, "/v1/images/i")
    received = first_chunk(response)
    for path in cached.cache.glob("sha512*"):
        path.unlink()
    assert received + b"".join(response.app_iter) == DATA
    assert counted_opens.parts == []


def test_always_hashes_each_time(
    cached: CachedDeployment, counted_opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached.configure("verify_checksum = always")
    with api_of(cached) as api:
        assert get(api, "/v1/images/i").body == DATA
        cached.wait_until_kept()
        (path,) = cached.kept()
        flip(path)
        # As if the disk had changed it.
        monkeypatch.setattr(CacheFolder, "_is_verified", lambda *_: True)
        received, is_whole = received_of(get(api, "/v1/images/i"))
        assert not is_whole
        assert len(received) < len(DATA)
        assert cached.kept() == []
        assert get(api, "/v1/images/i").body == DATA


class Stop:
    """Lets a file store wait before it reads the byte at an offset."""

    def __init__(self, counted_opens: Opens, offset: int) -> None:
        self.goes_on = threading.Event()
        self.is_reached = threading.Event()

        def wait(blob: Any) -> None:
            if blob._position >= offset and not self.goes_on.is_set():
                self.is_reached.set()
                assert self.goes_on.wait(60)

        counted_opens.before_chunk = wait


def test_a_part_that_begins_in_what_is_there(
    cached_api: imageapi.ImageAPI, counted_opens: Opens
) -> None:
    stop = Stop(counted_opens, 3_000_000)
    response = get(cached_api, "/v1/images/i")
    try:
        assert stop.is_reached.wait(60)
        part = get(cached_api, "/v1/images/i", Range="bytes=1000-200000")
        assert part.body == DATA[1000:200_001]
        assert counted_opens.parts == [0]
    finally:
        stop.goes_on.set()
    assert b"".join(response.app_iter) == DATA


def test_a_part_that_begins_later_is_read_from_the_store(
    cached_api: imageapi.ImageAPI, counted_opens: Opens
) -> None:
    stop = Stop(counted_opens, 3_000_000)
    response = get(cached_api, "/v1/images/i")
    assert stop.is_reached.wait(60)
    counted_opens.before_chunk = lambda blob: None
    assert (
        get(cached_api, "/v1/images/i", Range="bytes=4900000-4900010").body
        == DATA[4_900_000:4_900_011]
    )
    assert counted_opens.parts == [0, 4_900_000]
    stop.goes_on.set()
    assert b"".join(response.app_iter) == DATA


@pytest.mark.wire("cache-last-bytes")
def test_the_last_bytes_wait_for_the_whole_to_be_verified(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, counted_opens: Opens
) -> None:
    """Also those of a part that another client reads."""
    cached.data_path("i").write_bytes(DATA[:-1] + b"x")
    stop = Stop(counted_opens, 4_000_000)
    first = get(cached_api, "/v1/images/i")
    assert stop.is_reached.wait(60)
    other = get(cached_api, "/v1/images/i", Range="bytes=100000-")
    stop.goes_on.set()
    for response in (first, other):
        received, is_whole = received_of(response)
        assert not is_whole
        assert DATA.find(received) in (0, 100_000)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_is_full_in_the_middle(
    cached: CachedDeployment,
    cached_api: imageapi.ImageAPI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    write, written = Filling.write, [0]

    def full(filling: Filling, data: bytes) -> None:
        written[0] += len(data)
        if written[0] > 2_000_000:
            raise OSError(code, os.strerror(code))
        write(filling, data)

    monkeypatch.setattr(Filling, "write", full)
    with ThreadPoolExecutor(5) as threads:
        answers = list(threads.map(lambda _: get(cached_api, "/v1/images/i").body, range(5)))
    assert set(answers) == {DATA}
    written[0] = 0
    assert get(cached_api, "/v1/images/i").body == DATA
    cached.wait_until_nothing_is_filled()
    assert cached.names() == []
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 1
    assert os.strerror(code) in errors[0]


def test_a_disk_that_is_full_at_the_end(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(CacheFolder, "sign", full)
    assert get(cached_api, "/v1/images/i").body == DATA
    wait = cached.wait_until_nothing_is_filled
    wait()
    assert get(cached_api, "/v1/images/i").body == DATA


@pytest.mark.parametrize("lacks", ["folder", "permission", "lock"])
def test_a_folder_that_cannot_be_used(
    cached: CachedDeployment,
    cached_api: imageapi.ImageAPI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lacks: str,
) -> None:
    if lacks == "folder":
        cached.cache.rmdir()
    elif lacks == "lock":
        (cached.cache / "lock").mkdir()
    else:
        # For root, no permission is lacking.
        def refuse(*_: Any) -> Any:
            raise PermissionError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(CacheFolder, "locked", refuse)
    for _ in range(3):
        assert get(cached_api, "/v1/images/i").body == DATA
    errors = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 1
    assert str(cached.cache) in errors[0].getMessage()


def test_a_read_only_folder_still_has_hits(
    warm_api: imageapi.ImageAPI, monkeypatch: pytest.MonkeyPatch, counted_opens: Opens
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(CacheFolder, "locked", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    assert get(warm_api, "/v1/images/i").body == DATA
    assert counted_opens.parts == []


@pytest.mark.parametrize("more", ["max_size = 5000000", f"min_free = {1 << 62}"])
def test_what_does_not_fit_is_served_without(
    tmp_path: Path, cached: CachedDeployment, more: str
) -> None:
    cached.configure(more=more)
    with api_of(cached) as api:
        assert get(api, "/v1/images/i").body == DATA
        cached.wait_until_nothing_is_filled()
    assert cached.names() == []


def test_what_was_used_least_recently_goes_first(
    cached: CachedDeployment, counted_opens: Opens
) -> None:
    cached.configure(more="max_size = 12000000")
    data = {"i": DATA, "j": b"j" + DATA, "k": b"k" + DATA}
    cached.add_hashed("j", data["j"])
    cached.add_hashed("k", data["k"])
    with api_of(cached) as api:
        for number, image_id in enumerate("ij", 1):
            assert get(api, f"/v1/images/{image_id}").body == data[image_id]
            cached.wait_until_kept(number)
        for path in cached.kept():
            is_old = path.read_bytes() == data["j"]
            os.utime(f"{path}.ok", (1, 1) if is_old else (2, 2))
        assert get(api, "/v1/images/k").body == data["k"]
        cached.wait_until_kept(2)
    assert {path.read_bytes() for path in cached.kept()} == {data["i"], data["k"]}
    assert sum(path.stat().st_size for path in cached.kept()) < 12_000_000


def test_what_is_being_read_is_not_removed(cached: CachedDeployment, counted_opens: Opens) -> None:
    cached.configure(more="max_size = 8000000")
    cached.add_hashed("j", b"j" + DATA)
    with api_of(cached) as api:
        assert get(api, "/v1/images/i").body == DATA
        cached.wait_until_kept()
        response = get(api, "/v1/images/i")
        assert get(api, "/v1/images/j").body == b"j" + DATA
        assert [path.read_bytes() for path in cached.kept()] == [DATA]
        close(response)
        assert get(api, "/v1/images/j").body == b"j" + DATA
        cached.wait_until_kept()
        assert [path.read_bytes() for path in cached.kept()] == [b"j" + DATA]


def test_a_fill_that_nobody_will_complete_is_begun_again(
    cached: CachedDeployment, warm_api: imageapi.ImageAPI, counted_opens: Opens
) -> None:
    """As a process leaves it that was killed."""
    (path,) = cached.kept()
    for one in (path, path.with_name(path.name + ".ok")):
        one.unlink()
    path.with_name(path.name + ".part").write_bytes(DATA[:10])
    assert get(warm_api, "/v1/images/i").body == DATA
    cached.wait_until_kept()
    assert counted_opens.parts == [0]


def begin_elsewhere(cached: CachedDeployment) -> Filling:
    """Begin to fill the cache with the image ``i``, as another process does."""
    digest = hashlib.sha512(DATA).hexdigest()
    filling = CacheFolder(str(cached.cache), 10**9, 0).fill(f"sha512.{digest}.{len(DATA)}")
    assert filling is not None
    return filling


def lose(filling: Filling) -> None:
    """Close the file, as the kernel does for a killed process."""
    os.close(filling._descriptor)
    filling._descriptor = -1


@pytest.mark.wire("cache-asked")
def test_a_store_that_decides_is_asked_although_another_process_was_faster(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileStore, "decides_access", True)
    fill = CacheFolder.fill
    others: list[Filling] = []

    def fill_later(folder: CacheFolder, name: str) -> Filling | None:
        if not others:
            filling = fill(folder, name)
            assert filling is not None
            others.append(filling)
            filling.write(DATA)
            filling.keep()
        return fill(folder, name)

    def refuse(*_: Any, **__: Any) -> Any:
        raise DataForbidden("not for you")

    monkeypatch.setattr(CacheFolder, "fill", fill_later)
    monkeypatch.setattr(FileStore, "open", refuse)
    assert get(cached_api, "/v1/images/i").status_code == 403


def test_a_filler_that_is_gone_in_the_middle(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers continue at the byte that they have reached, and verify the whole."""
    filling = begin_elsewhere(cached)
    filling.write(DATA[:400_000])
    response = get(cached_api, "/v1/images/i")
    received = first_chunk(response)
    lose(filling)
    rest, is_whole = received_of(response)
    assert is_whole
    assert received + rest == DATA
    assert cached.names() == []
    assert get(cached_api, "/v1/images/i").body == DATA
    cached.wait_until_kept()


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_part_never_mixes_two_versions(
    cached: CachedDeployment,
    cached_api: imageapi.ImageAPI,
    settled: None,
    is_changed: bool,
) -> None:
    """Nothing verifies a part that does not reach the end."""
    filling = begin_elsewhere(cached)
    filling.write(DATA[:400_000])
    response = get(cached_api, "/v1/images/i", Range="bytes=1000-4000000")
    received = first_chunk(response)
    if is_changed:
        cached.data_path("i").write_bytes(bytes(len(DATA)))
    lose(filling)
    rest, is_whole = received_of(response)
    assert is_whole is not is_changed
    assert DATA[1000:4_000_001].startswith(received + rest)


def test_wrong_bytes_of_a_filler_that_is_gone_are_found(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI
) -> None:
    filling = begin_elsewhere(cached)
    filling.write(b"x" + DATA[1:400_000])
    response = get(cached_api, "/v1/images/i")
    lose(filling)
    received, is_whole = received_of(response)
    assert not is_whole
    assert len(received) < len(DATA)


@pytest.mark.parametrize("is_right", [True, False])
def test_what_is_known_of_data_is_shared_and_stays(
    cached: CachedDeployment,
    monkeypatch: pytest.MonkeyPatch,
    settled: None,
    is_right: bool,
) -> None:
    """Also of data that is not kept."""
    cached.config_file.write_text(cached.config_file.read_text().replace("stores = file", ""))
    if not is_right:
        cached.data_path("i").write_bytes(b"x" + DATA[1:])
    with api_of(cached) as one, api_of(cached) as other:
        assert received_of(get(one, "/v1/images/i"))[1] is is_right
        hashed: list[Checksum] = []
        hasher = Checksum.hasher

        def counting(checksum: Checksum) -> Hasher:
            hashed.append(checksum)
            return hasher(checksum)

        monkeypatch.setattr(Checksum, "hasher", counting)
        for api in (one, other):
            assert get(api, "/v1/images/i").status_code == (200 if is_right else 500)
        assert hashed == []
        monkeypatch.setattr(checksum, "WRONG_SECONDS", -1)
        with api_of(cached) as later:
            assert received_of(get(later, "/v1/images/i"))[1] is is_right
        assert bool(hashed) is not is_right


def test_close_ends_what_fills(cached: CachedDeployment, counted_opens: Opens) -> None:
    stop = Stop(counted_opens, 100_000)
    with api_of(cached) as api:
        response = get(api, "/v1/images/i")
        assert stop.is_reached.wait(60)
        threading.Timer(0.1, stop.goes_on.set).start()
    assert not [one for one in threading.enumerate() if one.name == "imageapi-cache"]
    close(response)
    assert cached.names() == []


def test_data_that_stalls_is_awaited_without_a_thread(
    cached_api: imageapi.ImageAPI, counted_opens: Opens
) -> None:
    stop = Stop(counted_opens, 3_000_000)
    response = get(cached_api, "/v1/images/i")
    assert stop.is_reached.wait(60)
    body = response.app_iter
    assert isinstance(body, Body)
    while not body.awaits_data:
        next(body)
    stop.goes_on.set()
    _, is_whole = received_of(response)
    assert is_whole
    assert not body.awaits_data


def test_an_unreadable_file_is_served_without(
    warm_api: imageapi.ImageAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(CacheFile, "read", fail)
    assert get(warm_api, "/v1/images/i").body == DATA


def test_an_error_of_the_origin_is_the_answer(
    cached: CachedDeployment, cached_api: imageapi.ImageAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise BackendUnavailable("down", 7)

    monkeypatch.setattr(FileStore, "open", fail)
    answer = get(cached_api, "/v1/images/i")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert cached.names() == []
