# SPDX-License-Identifier: Apache-2.0
"""A picture of the ratios that have an aim."""

from collections.abc import Mapping, Sequence

import pygal
from pygal.style import Style

from benchmarks.figures import Figure, Judged

_TITLES = {True: "the aim is met", False: "the aim is not met"}
_GREEN_AND_RED = Style(colors=("#2e7d32", "#c62828"))
_HEIGHT_OF_BAR = 22


def plot(results: Mapping[str, Sequence[Figure]]) -> bytes:
    """A bar for each ratio, in SVG; the table's order from below."""
    figures = [figure for part in results.values() for figure in part if _is_shown(figure)]
    chart = pygal.HorizontalBar(
        style=_GREEN_AND_RED,
        js=[],  # else it would load a script from another host
        title="imageapi / the other, at the median",
        logarithmic=True,
        print_values=True,
        formatter=lambda value: f"{value:.2f}",
        legend_at_bottom=True,
        truncate_label=-1,
        width=1400,
        height=200 + _HEIGHT_OF_BAR * len(figures),
    )
    chart.x_labels = [
        f"{figure.name}, {figure.unit} / {figure.against} {figure.aim}" for figure in figures
    ]
    for is_met, title in _TITLES.items():
        chart.add(title, [figure.value if figure.is_met is is_met else None for figure in figures])
    picture: bytes = chart.render()
    return picture


def _is_shown(figure: Figure) -> bool:
    return bool(figure.theirs) and figure.judged is Judged.RATIO and figure.aim is not None
