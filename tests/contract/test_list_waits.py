# SPDX-License-Identifier: Apache-2.0
"""docs/wire.md, Lists: those that wait for the index of the records."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import webob

import imageapi
from imageapi.backends import index_lock
from imageapi.backends.file.indexed_files import IndexedFiles
from imageapi.backends.index_lock import MOST_PATIENT
from tests.deployment import Deployment, get


@pytest.mark.wire("lists-unavailable")
def test_lists_leave_threads_for_images_while_the_index_is_made(
    api: imageapi.ImageAPI, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.add("i", b"data")
    refresh, is_released = IndexedFiles.refresh, threading.Event()
    has_begun, is_refused = threading.Event(), threading.Semaphore(0)

    def slow(files: IndexedFiles) -> None:
        has_begun.set()
        assert is_released.wait(60)
        refresh(files)

    def answer() -> webob.Response:
        response = get(api, "/v1/images")
        if response.status_code == 503:
            is_refused.release()
        return response

    monkeypatch.setattr(IndexedFiles, "refresh", slow)
    monkeypatch.setattr(index_lock, "WAIT_SECONDS", 0.01)
    with ThreadPoolExecutor(12) as threads:
        try:
            first = threads.submit(answer)
            assert has_begun.wait(60)
            others = [threads.submit(answer) for _ in range(11)]
            for _ in range(11 - MOST_PATIENT):
                assert is_refused.acquire(timeout=60)
            assert get(api, "/v1/images/i").body == b"data"
        finally:
            is_released.set()
        answers = [one.result() for one in (first, *others)]
    refused = [one for one in answers if one.status_code != 200]
    assert len(refused) == 11 - MOST_PATIENT
    assert {(one.status_code, one.headers["Retry-After"]) for one in refused} == {(503, "5")}
