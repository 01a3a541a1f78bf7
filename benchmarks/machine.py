# SPDX-License-Identifier: Apache-2.0
"""What this machine is, so that runs on different ones can be told apart."""

import os
import platform
import time
from statistics import median
from typing import Any

_LOOPS = 200_000
_TIMES = 15


def calibration() -> list[float]:
    """Milliseconds of a fixed loop of plain Python, several times over."""
    return [_time_of_loop() for _ in range(_TIMES)]


def description(calibrations: list[float]) -> dict[str, Any]:
    """Processor, kernel and Python, and how long the calibration loop takes."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "calibration_ms": calibrations,
        "calibration_ms_min": min(calibrations),
        "calibration_ms_median": median(calibrations),
        "load_average": os.getloadavg()[0],
    }


def _time_of_loop() -> float:
    started = time.perf_counter()
    total = 0
    for number in range(_LOOPS):
        total += number * number % 7
    return (time.perf_counter() - started) * 1e3


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
