# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterable


def bytes_of_lines(lines: Iterable[tuple[str, str]]) -> int:
    """How many bytes these header lines take in a response."""
    return sum(len(f"{name}: {value}\r\n".encode("latin-1")) for name, value in lines)
