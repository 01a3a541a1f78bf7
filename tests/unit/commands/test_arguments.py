# SPDX-License-Identifier: Apache-2.0
from argparse import ArgumentTypeError
from collections.abc import Callable

import pytest

from imageapi.commands import arguments


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (arguments.image_id, "a b", "a b"),
        (arguments.utf8, "n\u00e9", "n\u00e9"),
        (arguments.key_and_value, "a=b=c", ("a", "b=c")),
        (arguments.key_and_value, "a=", ("a", "")),
        (arguments.count, "0", 0),
        (arguments.count, "007", 7),
        (arguments.positive, "1", 1),
        (arguments.port, "1", 1),
        (arguments.port, "65535", 65535),
    ],
)
def test_valid_texts(kind: Callable[[str], object], text: str, value: object) -> None:
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (arguments.image_id, "detail", "'detail' is not a valid image id: no slash"),
        (arguments.image_id, "x" * 300, "is not a valid image id"),
        (arguments.utf8, "\udcff", "is not UTF-8"),
        (arguments.key_and_value, "a", "'a' is not K=V"),
        (arguments.key_and_value, "=b", "'=b' is not K=V"),
        (arguments.key_and_value, "\udcff=b", "is not UTF-8"),
        (arguments.count, "-1", "'-1' is not a whole number"),
        (arguments.count, "\u0661", "is not a whole number"),
        (arguments.count, "", "'' is not a whole number"),
        (arguments.positive, "0", "'0' is not a positive number"),
        (arguments.positive, "x", "'x' is not a whole number"),
        (arguments.port, "0", "'0' is not a port from 1 to 65535"),
        (arguments.port, "65536", "'65536' is not a port from 1 to 65535"),
    ],
)
def test_invalid_texts(kind: Callable[[str], object], text: str, told: str) -> None:
    with pytest.raises(ArgumentTypeError, match=told):
        kind(text)
