# SPDX-License-Identifier: Apache-2.0
"""A picture of cold storms: the bytes from the upstream and at the clients over time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmarks.caches import CACHED, UNCACHED
from benchmarks.crowd import TICK
from benchmarks.effort import Effort
from benchmarks.workplace import Timeline

_WIDTH, _HEIGHT = 400, 130
_LEFT, _TOP, _GAP_X, _GAP_Y = 70, 90, 60, 62
_MIB = 1024 * 1024
_COLOURS = {"sent": "#c05a00", "received": "#1f5fa8"}
_TEXTS = {"sent": "sent by the upstream", "received": "received by all clients"}
_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


class _Scale(NamedTuple):
    """A logarithmic axis from `least` to `most`, over `length` pixels."""

    least: float
    most: float
    length: float

    def __call__(self, value: float) -> float:
        value = min(max(value, self.least), self.most)
        return self.length * math.log(value / self.least) / math.log(self.most / self.least)


def picture(timelines: Mapping[tuple[str, str], Timeline], effort: Effort) -> str:
    """The picture, in SVG: a column for each upstream, a row for what is in front of it."""
    kinds = list(dict.fromkeys(kind for kind, _ in timelines))
    names = list(dict.fromkeys(name for _, name in timelines))
    longest = max(len(timeline.received) for timeline in timelines.values())
    seconds = _Scale(TICK, max(longest * TICK, 1.0), _WIDTH)
    mib = _Scale(0.5, effort.storm_mib * effort.clients * 1.5, _HEIGHT)
    width = _LEFT + len(kinds) * (_WIDTH + _GAP_X)
    height = _TOP + len(names) * (_HEIGHT + _GAP_Y)
    box = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_heading(effort),
    ]
    for (kind, name), timeline in timelines.items():
        x = _LEFT + kinds.index(kind) * (_WIDTH + _GAP_X)
        y = _TOP + names.index(name) * (_HEIGHT + _GAP_Y)
        lines.append(f'<g transform="translate({x} {y})">')
        lines += _panel(_title(kind, name), timeline, seconds, mib, effort)
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def _heading(effort: Effort) -> Iterator[str]:
    yield (
        f'<text x="{_LEFT}" y="28" font-size="16">{effort.clients} clients ask at once for an image'
        f" of {effort.storm_mib} MiB that no cache has: MiB over seconds, both logarithmic</text>"
    )
    for number, (field, text) in enumerate(_TEXTS.items()):
        x = _LEFT + number * 200
        yield f'<rect x="{x}" y="42" width="16" height="4" fill="{_COLOURS[field]}"/>'
        yield f'<text x="{x + 22}" y="49">{text}</text>'


def _title(kind: str, name: str) -> str:
    upstream = {"http": "nginx", "swift": "Swift"}.get(kind, kind)
    if name == UNCACHED:
        return f"imageapi without a cache, images in {upstream}"
    cache = name if name == CACHED else f"{name} as a cache"
    return f"{cache}, images in {upstream}"


def _panel(
    title: str, timeline: Timeline, seconds: _Scale, mib: _Scale, effort: Effort
) -> Iterator[str]:
    fetches = timeline.sent[-1] / (effort.storm_mib * _MIB)
    end = len(timeline.received) * TICK
    yield f'<text y="-8" font-weight="bold">{title}: {end:.1f} s, {fetches:.1f} fetches</text>'
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>'
    for images in (1, effort.clients):
        y = _HEIGHT - mib(images * effort.storm_mib)
        yield f'<path d="M0 {y:.1f}H{_WIDTH}" stroke="#ccc" stroke-dasharray="4 3"/>'
        label = images * effort.storm_mib
        yield f'<text x="-6" y="{y + 4:.1f}" text-anchor="end" fill="#555">{label}</text>'
    for moment in _SECONDS:
        if seconds.least <= moment <= seconds.most:
            x = seconds(moment)
            yield f'<path d="M{x:.1f} {_HEIGHT}v-5" stroke="#999"/>'
            yield (
                f'<text x="{x:.1f}" y="{_HEIGHT + 14}" text-anchor="middle" fill="#555">'
                f"{moment:g}</text>"
            )
    for field, colour in _COLOURS.items():
        points = " ".join(_points(getattr(timeline, field), seconds, mib))
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _points(samples: Sequence[int], seconds: _Scale, mib: _Scale) -> Iterator[str]:
    """One point for each pixel at most."""
    before = -1.0
    for number, count in enumerate(samples):
        x = seconds(number * TICK)
        if count and (x - before >= 1 or number == len(samples) - 1):
            before = x
            yield f"{x:.1f},{_HEIGHT - mib(count / _MIB):.1f}"
