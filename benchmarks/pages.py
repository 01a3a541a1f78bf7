# SPDX-License-Identifier: Apache-2.0
"""How long pages of lists take, beside those of a Glance."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from statistics import median

from benchmarks.figures import Aim, Figure, Judged

_PAGE = 25
_PAGES = 40
_GLANCE = "Glance's /v2/images"
_AS_FAST = Aim("<=", 1.0)


def side_by_side(name: str, rounds: list[tuple[float, float]], soon: Aim) -> Iterator[Figure]:
    """The milliseconds of both servers, compared, and those of imageapi by themselves."""
    mine = [one for one, _ in rounds]
    yield Figure(
        name=name,
        unit="ms",
        ours=mine,
        theirs=[other for _, other in rounds],
        against=_GLANCE,
        aim=_AS_FAST,
    )
    yield milliseconds(name, mine, soon)


def milliseconds(name: str, numbers: list[float], aim: Aim | None = None) -> Figure:
    """The milliseconds of imageapi alone."""
    return Figure(name=name, unit="ms", ours=numbers, judged=Judged.ITSELF, aim=aim)


class Lists:
    """The lists of a server."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._path = path
        # Of the latest page: its images, and the last one if another page may follow.
        self._ids: list[str] = []
        self._last = ""

    def page(self, parameters: str, limit: int = _PAGE) -> float:
        """How many milliseconds a page took."""
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)) as client:
            started = time.perf_counter()
            client.request("GET", f"{self._path}?limit={limit}&{parameters}")
            response = client.getresponse()
            data = response.read()
            seconds = time.perf_counter() - started
        if response.status != 200:
            raise RuntimeError(f"a list is answered with status {response.status}: {data[:200]!r}")
        self._ids = [image["id"] for image in json.loads(data)["images"]]
        self._last = self._ids[-1] if len(self._ids) == limit else ""
        return 1000 * seconds

    def walk(self, parameters: str) -> float:
        """How many milliseconds a page took: the median of the first ones of a list."""
        taken = [self.page(parameters)]
        seen = set(self._ids)
        while self._last and len(taken) < _PAGES:
            taken.append(self.page(f"{parameters}&marker={self._last}"))
            if not seen.isdisjoint(self._ids):
                raise RuntimeError(f"{self._path}?{parameters} has an image on two pages")
            seen.update(self._ids)
        return median(taken)

    def last_page(self) -> float:
        """How many milliseconds the last page took, a full one."""
        # In the opposite order, the image after this page is the one before the last page.
        self.page("sort_key=created_at&sort_dir=asc", _PAGE + 1)
        taken = self.page(f"marker={self._last}")
        marker = self._last
        self.page(f"marker={marker}")
        if not marker or self._last:
            raise RuntimeError("the page before the end of a list is not the last one")
        return taken
