# SPDX-License-Identifier: Apache-2.0
"""Counts of what happened in the soak."""

import threading
from collections import Counter
from collections.abc import Sequence

from tests.functional.soak.door import Resources
from tests.functional.soak.faults import FAULTS
from tests.functional.soak.log_lines import NOT_EXPLAINED
from tests.functional.soak.world import Turn

#: The images that must be complete, and other outcomes.
OUTCOMES = frozenset(
    {"file", "http", "swift", "s3", "rbd", "broken off", "refused", "left", "part"}
)
OUTCOMES |= {"resumed", "put together", "head", "not modified", "page"}


class Report:
    """Counts of answers and faults; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: How many answers, by the kind of the image and the outcome.
        self.answers: Counter[tuple[str, str]] = Counter()
        self.statuses: Counter[int | None] = Counter()
        self.faults: Counter[str] = Counter()
        #: How many lines of the log, by what explains them.
        self.log_lines: Counter[str] = Counter()
        #: What the server held after each round of a turn.
        self.held: dict[Turn, Sequence[Resources]] = {}
        self.wrong: list[str] = []

    def answered(self, kind: str, outcome: str, status: int | None) -> None:
        with self._lock:
            self.answers[kind, outcome] += 1
            self.statuses[status] += 1

    def did(self, fault: str) -> None:
        with self._lock:
            self.faults[fault] += 1

    def outcomes(self) -> Counter[str]:
        """How many answers of each outcome."""
        total: Counter[str] = Counter()
        for (_, outcome), count in self.answers.items():
            total[outcome] += count
        return total

    def lacking(self) -> frozenset[str]:
        """The faults and outcomes that every run must see, and that have not happened yet."""
        with self._lock:
            done = {*self.faults, *(outcome for _, outcome in self.answers)}
            done |= {kind for kind, outcome in self.answers if outcome == "complete"}
            return (FAULTS | OUTCOMES) - done

    def unexplained(self) -> list[str]:
        """The lines of the log that no page explains."""
        return [kind for kind in self.log_lines if kind.startswith(NOT_EXPLAINED)]
