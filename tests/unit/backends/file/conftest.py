# SPDX-License-Identifier: Apache-2.0
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) == len(before)
