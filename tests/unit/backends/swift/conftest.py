# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.unit.backends.swift.fake_swift import FakeSwift
from tests.unit.backends.swift.listed_swift import ListedSwift


@pytest.fixture
def memory_swift() -> FakeSwift:
    return FakeSwift()


@pytest.fixture
def listed_swift() -> ListedSwift:
    return ListedSwift()
