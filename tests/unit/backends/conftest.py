# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.backends.file.store import FileStore
from tests.deployment import Deployment


@pytest.fixture
def store(deployment: Deployment) -> FileStore:
    store = deployment.api().backends.stores[0].backend
    assert isinstance(store, FileStore)
    return store
