# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from tests.unit.backends.s3.answered_client import AnsweredS3


@pytest.fixture
def answered_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweredS3]:
    made = AnsweredS3(monkeypatch)
    yield made
    made.store.close()
