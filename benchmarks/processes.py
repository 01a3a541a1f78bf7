# SPDX-License-Identifier: Apache-2.0
"""What a server's processes use, as Linux counts it."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

_RESIDENT = re.compile(r"VmRSS:\s+(\d+) kB")
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living descendants, all threads.

    Read from each process's own CPU clock: /proc/PID/stat counts in ticks of
    10 ms, too coarse for one download.
    """
    return sum(time.clock_gettime(_cpu_clock(one)) for one in _tree(pid))


def largest_peak(pid: int) -> float:
    """Bytes that the largest of a process and its descendants had resident at its peak."""
    return 1024 * max(_kibibytes(one, _PEAK) for one in _tree(pid))


class PeakMemory:
    """How much a process and its descendants grow from when this is made."""

    def __init__(self, pid: int) -> None:
        self._before = {one: _kibibytes(one, _RESIDENT) for one in _tree(pid)}
        for one in self._before:
            # 5 sets the peak back to what is resident now (proc(5)).
            Path(f"/proc/{one}/clear_refs").write_text("5")

    def growth(self) -> float:
        """Bytes between what was resident at the start and the peak since then."""
        grown = (_kibibytes(one, _PEAK) - before for one, before in self._before.items())
        return 1024 * sum(grown)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def _cpu_clock(pid: int) -> int:
    """What clock_getcpuclockid(3) answers on Linux: a process's CPU clock."""
    return (~pid << 3) | 2


def _kibibytes(pid: int, field: re.Pattern[str]) -> int:
    match = field.search(Path(f"/proc/{pid}/status").read_text())
    if match is None:
        raise RuntimeError(f"process {pid} has ended")
    return int(match[1])
