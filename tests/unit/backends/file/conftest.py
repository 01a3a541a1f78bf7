# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from imageapi.backends.file.registry import FileRegistry
from imageapi.testing.suite import build
from tests.deployment import Deployment


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.fixture
def lister(deployment: Deployment) -> Iterator[FileRegistry]:
    with closing(build(FileRegistry, directory=str(deployment.registry))) as registry:
        yield registry
