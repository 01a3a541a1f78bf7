# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.backends.file.store import FileStore
from imageapi.backends.http_client.record_cache import RecordCache
from tests.deployment import Deployment
from tests.unit.backends.upstream import Time


@pytest.fixture
def store(deployment: Deployment) -> FileStore:
    store = deployment.api().backends.stores[0].backend
    assert isinstance(store, FileStore)
    return store


@pytest.fixture
def record_time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(RecordCache, "now", lambda _: time.now)
    return time
