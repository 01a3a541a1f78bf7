# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.unit.backends.swift.fake_swift import FakeSwift


@pytest.fixture
def memory_swift() -> FakeSwift:
    return FakeSwift()
