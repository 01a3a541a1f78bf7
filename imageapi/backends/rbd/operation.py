# SPDX-License-Identifier: Apache-2.0
"""An operation that a Ceph cluster carries out while this thread does something else."""

import os
from collections.abc import Callable
from typing import Any

from imageapi.backends.rbd.cluster import Bindings

#: A thread of Ceph calls it at the end, with the completion and the data; None after an error.
End = Callable[[Any, bytes | None], None]

#: Starts an operation, and returns the completion.
Start = Callable[[End], Any]


class Operation:
    """An operation that has begun."""

    def __init__(self, start: Start, bindings: Bindings) -> None:
        """Start the operation."""
        self._bindings = bindings
        found: list[bytes | None] = []
        self._found = found
        # Not a method: a cycle of references would keep the data until it is collected as garbage.
        self._completion = start(lambda _, data: found.append(data))

    def result(self) -> bytes:
        """Wait until the operation has ended, and return its data.

        :raises rados.Error: it failed; ``errno`` says why.
        """
        self._completion.wait_for_complete_and_cb()
        code: int = self._completion.get_return_value()
        data = self._found[0]
        if data is None:
            raise self._bindings.rados.Error(os.strerror(-code), -code)
        return data
