# SPDX-License-Identifier: Apache-2.0
"""Clients that list all images page by page, and judge each page and each walk."""

import http.client
import json
import threading
import time
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from tests.functional.http_client import connection
from tests.functional.soak.history import History, Version
from tests.functional.soak.images import Changing
from tests.functional.soak.judge import Wrong
from tests.functional.soak.report import Report

#: What one image of a list has.
Entry = Mapping[str, Any]


class ListClient:
    """One client. It is correct for all registries but ``http``, whose server lists nothing."""

    def __init__(
        self,
        port: int,
        images: Sequence[Changing],
        servers: Sequence[History],
        random: Random,
        report: Report,
        registry: str,
    ) -> None:
        """:param servers: the facts about imageapi and the server of its records."""
        self._port = port
        self._images = {image.id: image for image in images}
        self._servers = servers
        self._random = random
        self._report = report
        self._registry = registry

    def run(self, stopping: threading.Event) -> None:
        """Walk again and again until the storm is over or a page is wrong."""
        while not stopping.wait(self._random.uniform(0, 0.5)):
            try:
                self._walk()
            except Wrong as error:
                self._report.wrong.append(str(error))
                stopping.set()

    def _walk(self) -> None:
        since = time.monotonic()
        limit = self._random.choice([2, 5, 25])
        order = self._random.choice(["asc", "desc"])
        seen: list[str] = []
        while True:
            marker = f"&marker={seen[-1]}" if seen else ""
            page = self._page(f"limit={limit}&sort_key=id&sort_dir={order}{marker}")
            if page is None:
                return
            seen += [entry["id"] for entry in page]
            if len(page) < limit:
                break
        self._judge_walk(seen, order, since, time.monotonic())

    def _page(self, query: str) -> Sequence[Entry] | None:
        """A page; None if the answer is a refusal or broken off."""
        since = time.monotonic()
        status, body = None, b""
        try:
            with connection(self._port) as client:
                client.request("GET", f"/v1/images/detail?{query}", headers={"Connection": "close"})
                response = client.getresponse()
                status, body = response.status, response.read()
        except TimeoutError:
            raise Wrong(f"the list {query} hangs") from None
        except (http.client.HTTPException, OSError):
            status = None
        until = time.monotonic()
        if status != 200:
            self._judge_refusal(query, status, since, until)
            return None
        page: Sequence[Entry] = json.loads(body)["images"]
        for entry in page:
            self._judge_entry(entry, since, until)
        self._report.answered("list", "page", status)
        return page

    def _judge_refusal(self, query: str, status: int | None, since: float, until: float) -> None:
        facts = frozenset().union(*(one.between(since, until) for one in self._servers))
        allowed = {"broken" if status is None else str(status)} & facts
        # docs/http.md: nginx lists nothing. docs/wire.md, Lists: a marker must exist.
        allowed |= {"404"} & {str(status)} if self._registry == "http" else set()
        allowed |= {"400"} & {str(status)} if "marker" in query else set()
        if not allowed:
            raise Wrong(f"the list {query}: {status}, for which nothing was done: {set(facts)}")
        self._report.answered("list", "broken off" if status is None else "refused", status)

    def _judge_entry(self, entry: Entry, since: float, until: float) -> None:
        """An image is listed as its record was during the request."""
        image = self._images.get(entry["id"])
        facts = image.history.between(since, until) if image else frozenset()
        versions = {fact.checksum: fact for fact in facts if isinstance(fact, Version)}
        version = versions.get(entry["checksum"])
        is_right = version is not None and entry["size"] in (None, version.size)
        if entry["status"] == "deactivated" and "403" in facts:
            is_right = True
        if not is_right:
            told = sorted(map(str, facts))
            raise Wrong(f"WRONG IN A LIST: {entry}, from {since:.3f} to {until:.3f}, facts: {told}")

    def _judge_walk(self, seen: list[str], order: str, since: float, until: float) -> None:
        """Each image that was there all the time is listed once, in order."""
        if seen != sorted(set(seen), reverse=order == "desc"):
            raise Wrong(f"a list repeats images or is in the wrong order: {seen}")
        there = {one.id for one in self._images.values() if _has_record(one, since, until)}
        # docs/swift.md: a list can lack a record that is new.
        lacking = there - set(seen) if self._registry != "swift" else set()
        if lacking:
            raise Wrong(f"a list lacks {lacking}, from {since:.3f} to {until:.3f}: {seen}")
        self._report.answered("list", "walk", None)


def _has_record(image: Changing, since: float, until: float) -> bool:
    """Whether an image has a record all the time."""
    return "404" not in image.history.between(since, until)
