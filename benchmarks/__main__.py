# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks``: measures, prints a table, and says how to read it."""

import argparse
import dataclasses
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import (
    ceph,
    database,
    doors,
    downloads,
    file_lists,
    in_process,
    records,
    remembered,
    requests_per_second,
    start,
    storm,
    swift_lists,
    warm_small,
)
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.figures import Figure, table
from benchmarks.machine import calibration, description
from benchmarks.plot import plot
from benchmarks.storm_picture import picture
from benchmarks.workplace import Workplace

_BENCHMARKS: Mapping[str, Callable[[Workplace, Effort], Iterator[Figure]]] = {
    "start": start.measure,
    "in-process": in_process.measure,
    "requests": requests_per_second.measure,
    "doors": doors.measure,
    "remembered": remembered.measure,
    "records": records.measure,
    "downloads": downloads.measure,
    "rbd": ceph.measure,
    "file-lists": file_lists.measure,
    "swift-lists": swift_lists.measure,
    "database": database.measure,
    "storm": storm.measure,
    "warm-small": warm_small.measure,
}

_HOW_TO_READ = """\
How to read it: every line was measured in turns, imageapi, the other, and so on
for several rounds. "imageapi" and "other" are the medians over the rounds;
"judged" is the ratio of the two medians (x), in process their difference,
for memory imageapi's median itself; "least..most" is the same of each round by
itself, so a wide span means a noisy machine and a line to measure again. The
aim is about "judged". Absolute numbers differ between machines: compare judged
ones, and mind the calibration, a fixed loop of plain Python, which tells how
fast a machine runs Python. If the load client's share of a core is near 100 %,
the client and not the server is what was measured."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 when all could be measured, met or not."""
    options = _parser().parse_args(arguments)
    effort = _effort(options)
    machine = description(calibration())
    print(_machine_line(machine), flush=True)
    results: dict[str, list[Figure]] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="imageapi-benchmarks-"))
        workplace = Workplace(Path(folder).resolve(), effort, stack)
        for name in options.only or _BENCHMARKS:
            started = time.monotonic()
            results[name] = list(_BENCHMARKS[name](workplace, effort))
            print(f"\n{name} ({time.monotonic() - started:.0f} s)\n{table(results[name])}")
            sys.stdout.flush()
    print(f"\n{_HOW_TO_READ}")
    if options.json is not None:
        options.json.write_text(_as_json(machine, effort, results))
    if options.plot is not None:
        options.plot.write_bytes(plot(results))
    if options.storm_plot is not None and workplace.timelines:
        options.storm_plot.write_text(picture(workplace.timelines, effort))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure imageapi side by side with what it can be compared with.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small and few: to see that it works, not how fast"
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=_BENCHMARKS,
        help=f"measure only this; may be given again: {', '.join(_BENCHMARKS)}",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every number there")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="write a picture there, in SVG")
    parser.add_argument(
        "--storm-plot", metavar="FILE", type=Path, help="write a picture of the storm there"
    )
    parser.add_argument("--size-mib", metavar="N", type=_positive, help="of the large image")
    parser.add_argument("--records", metavar="N", type=_positive, help="in the large registry")
    parser.add_argument("--rounds", metavar="N", type=_positive, help="of measuring in turns")
    parser.add_argument("--restarts", metavar="N", type=_positive, help="rounds of downloads")
    parser.add_argument("--clients", metavar="N", type=_positive, help="of the storm")
    parser.add_argument("--storm-mib", metavar="N", type=_positive, help="of the storm's image")
    return parser


def _positive(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")


def _effort(options: argparse.Namespace) -> Effort:
    chosen = {
        name: getattr(options, name)
        for name in ("size_mib", "records", "rounds", "restarts", "clients", "storm_mib")
        if getattr(options, name) is not None
    }
    return dataclasses.replace(QUICK if options.quick else FULL, **chosen)


def _machine_line(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']},"
        f" Python {machine['python']}, load average {machine['load_average']:.2f}\n"
        f"calibration loop: {machine['calibration_ms_min']:.2f} ms at least,"
        f" {machine['calibration_ms_median']:.2f} ms median"
    )


def _as_json(
    machine: Mapping[str, Any], effort: Effort, results: Mapping[str, Sequence[Figure]]
) -> str:
    document = {
        "machine": machine,
        "effort": dataclasses.asdict(effort),
        "figures": {name: [each.as_json() for each in all_] for name, all_ in results.items()},
    }
    return json.dumps(document, indent=2) + "\n"


if __name__ == "__main__":
    # Told to end, it stops its servers and removes its folder first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
