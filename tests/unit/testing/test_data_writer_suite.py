# SPDX-License-Identifier: Apache-2.0
from typing import Any
from unittest import mock

import pytest

from imageapi.backends.writing import DataWriter, WriteError
from imageapi.testing.data_writer_suite import DataWriterSuite, image_of
from imageapi.testing.fakes import MemoryStore
from imageapi.testing.suite import build
from tests.unit.testing.cases import told_by


class StoreOfWriter(MemoryStore):
    """Its writer is the one that a test sets."""

    given: Any = None

    def writer(self) -> DataWriter | None:
        writer: DataWriter | None = self.given
        return writer


@pytest.mark.parametrize(
    ("put", "told"),
    [
        (lambda *_, **__: None, "put() must return NewData, not NoneType"),
        (mock.Mock(side_effect=WriteError("full")), "must work here, but raised WriteError: full"),
    ],
)
def test_put_that_fails_is_named(put: Any, told: str) -> None:
    writer = mock.Mock(spec=DataWriter)
    writer.put = put
    store = type("Given", (StoreOfWriter,), {"given": writer})
    hooks = {"make_store": lambda _: build(store), "make_unreachable": lambda _: None}
    assert told in told_by(DataWriterSuite, "writer_puts_data", **hooks)
    assert told_by(DataWriterSuite, "writer_of_an_upstream_out_of_reach", **hooks) == ""


def test_image_is_active() -> None:
    assert image_of("i").is_active
