# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.functional.soak --minutes N --seed S``"""

import argparse
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from tests.functional.soak.door import Resources
from tests.functional.soak.report import Report
from tests.functional.soak.storm import soak

_ROUND_SECONDS, _ROUNDS = 36, 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.functional.soak", description=__doc__)
    parser.add_argument("--minutes", type=int, default=30, help="three for each turn")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    given = parser.parse_args()
    # So that SIGTERM stops the servers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        try:
            soak(Path(folder), given.seed, _ROUND_SECONDS, given.minutes // 3, _ROUNDS, report)
        finally:
            sys.stdout.write(f"seed {given.seed}\n{told(report)}\n")
    sys.exit(bool(report.wrong or report.unexplained() or report.lacking()))


def told(report: Report) -> str:
    """The counts, as tables."""
    outcomes = sorted(report.outcomes())
    kinds = sorted({kind for kind, _ in report.answers})
    lines = [_row("images", *outcomes), _row(*["---"] * (len(outcomes) + 1))]
    lines += [_row(kind, *(report.answers[kind, one] for one in outcomes)) for kind in kinds]
    lines.append(_row("all", *(report.outcomes()[one] for one in outcomes)))
    lines += ["", _row("fault", "times"), _row("---", "---")]
    lines += [_row(fault, times) for fault, times in sorted(report.faults.items())]
    statuses = sorted((str(status), count) for status, count in report.statuses.items())
    lines += ["", ", ".join(f"{status}: {count}" for status, count in statuses)]
    lines += ["", _row("the log says", "times"), _row("---", "---")]
    lines += [_row(words, times) for words, times in sorted(report.log_lines.items())]
    lines += [
        "",
        _row("turn", "round", *Resources._fields),
        _row(*["---"] * (2 + len(Resources._fields))),
    ]
    for turn, held in report.held.items():
        lines += [_row(" ".join(map(str, turn)), at, *one) for at, one in enumerate(held, 1)]
    return "\n".join([*lines, "", f"wrong: {len(report.wrong)}", *report.wrong])


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
