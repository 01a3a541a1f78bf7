# SPDX-License-Identifier: Apache-2.0
"""How much a run measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """The sizes of a run.

    :ivar rounds: how often each thing is measured, in turns with what it is compared with.
    :ivar restarts: rounds of downloads, each with servers that were started afresh.
    :ivar seconds: of load a turn.
    :ivar calls: in process, a turn.
    :ivar records: in the large registry.
    :ivar size_mib: of the large image.
    :ivar clients: that ask for one image at once.
    :ivar storm_mib: of that image.
    """

    rounds: int
    restarts: int
    seconds: float
    calls: int
    records: int
    size_mib: int
    clients: int = 100
    storm_mib: int = 256

    @property
    def size(self) -> int:
        """Bytes of the large image."""
        return self.size_mib * 1024 * 1024


FULL = Effort(rounds=7, restarts=3, seconds=1.5, calls=4000, records=100_000, size_mib=1024)
QUICK = Effort(
    rounds=1, restarts=1, seconds=0.05, calls=50, records=500, size_mib=32, clients=8, storm_mib=8
)
