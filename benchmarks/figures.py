# SPDX-License-Identifier: Apache-2.0
"""What was measured, how it is judged, and the table of it."""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median
from typing import Any

_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
}

_COLUMNS = "{:<62} {:>8} {:>8}  {:<15} {:>8}  {:<14} {}"


@dataclass(frozen=True)
class Aim:
    """What a figure should be: a sign of ``>=``, ``<=`` and ``<``, and a limit."""

    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:g}"

    def is_met_by(self, value: float) -> bool:
        return _SIGNS[self.sign](value, self.limit)


class Judged(Enum):
    """What is made of imageapi's numbers and those beside them."""

    RATIO = "ratio"
    DIFFERENCE = "difference"
    ITSELF = "itself"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table; each list has one number a round.

    :ivar ours: imageapi's numbers.
    :ivar theirs: those of what it is compared with, round by round; may be empty.
    :ivar against: what that is.
    :ivar summary: makes one number of those of all rounds.
    :ivar aim: what the judged number should be; None where it only informs.
    """

    name: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    against: str = ""
    judged: Judged = Judged.RATIO
    summary: Callable[[Sequence[float]], float] = median
    aim: Aim | None = None

    @property
    def value(self) -> float:
        """The judged number, of the summaries of all rounds."""
        ours = self.summary(self.ours)
        return self._judge(ours, self.summary(self.theirs)) if self.theirs else ours

    @property
    def by_round(self) -> Sequence[float]:
        """The judged number of each round by itself."""
        if not self.theirs:
            return self.ours
        return [self._judge(*pair) for pair in zip(self.ours, self.theirs, strict=True)]

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is met; None without an aim."""
        return None if self.aim is None else self.aim.is_met_by(self.value)

    def as_json(self) -> dict[str, Any]:
        """All of it, every round's numbers included."""
        return {
            "name": self.name,
            "unit": self.unit,
            "imageapi": list(self.ours),
            "against": self.against,
            "theirs": list(self.theirs),
            "judged": self.judged.value,
            "value": self.value,
            "by_round": list(self.by_round),
            "aim": None if self.aim is None else str(self.aim),
            "met": self.is_met,
        }

    def _judge(self, ours: float, theirs: float) -> float:
        if self.judged is Judged.RATIO:
            return ours / theirs
        return ours - theirs if self.judged is Judged.DIFFERENCE else ours


def table(figures: Iterable[Figure]) -> str:
    """The figures as text, one a line, below a line of headings."""
    headings = ("", "imageapi", "other", "", "judged", "least..most", "aim")
    return "\n".join([_COLUMNS.format(*headings).rstrip(), *map(_line, figures)])


def _line(figure: Figure) -> str:
    mark = "x" if figure.theirs and figure.judged is Judged.RATIO else ""
    spread = f"{_number(min(figure.by_round))}..{_number(max(figure.by_round))}"
    return _COLUMNS.format(
        f"{figure.name}, {figure.unit}",
        _number(figure.summary(figure.ours)),
        _number(figure.summary(figure.theirs)) if figure.theirs else "",
        figure.against,
        mark + _number(figure.value),
        spread,
        _verdict(figure),
    ).rstrip()


def _verdict(figure: Figure) -> str:
    if figure.aim is None:
        return ""
    return f"{figure.aim}: {'met' if figure.is_met else 'NOT MET'}"


def _number(value: float) -> str:
    """Three digits that matter, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"
