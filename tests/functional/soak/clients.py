# SPDX-License-Identifier: Apache-2.0
"""Clients that send all kinds of requests, and judge each answer."""

import hashlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import NamedTuple

from tests.functional.soak.history import Fact, History
from tests.functional.soak.images import SIZES, Changing
from tests.functional.soak.judge import Asked, Received, Wrong, judge, judge_file, version_of
from tests.functional.soak.report import Report

# Seconds; no answer takes longer, with all retries.
_TIMEOUT = 60
_PIECE = 64 * 1024


class Pace(NamedTuple):
    """How a client reads.

    :ivar leaves_after: after how many bytes it closes the connection; None if it reads all.
    :ivar pause: seconds between two reads.
    """

    leaves_after: int | None = None
    pause: float = 0


_NOTHING = hashlib.md5()


class Begun(NamedTuple):
    """The beginning of a download: its ETag, its length and the hash of its bytes."""

    tag: str
    length: int
    hasher: "hashlib._Hash"

    def and_then(self, data: bytes) -> "Begun":
        hasher = self.hasher.copy()
        hasher.update(data)
        return Begun(self.tag, self.length + len(data), hasher)

    @property
    def digest(self) -> str:
        return self.hasher.hexdigest()


class Pieces:
    """A file that a client appends to, as wget does.

    :ivar answers: the answers with its bytes, and the 416 that says that it is complete.
    :ivar is_complete: whether the client takes the file for the complete image.
    """

    def __init__(self) -> None:
        self.body = bytearray()
        self.answers: list[Received] = []
        self.is_complete = False

    def take(self, asked: Asked, answer: Received) -> None:
        """Append the bytes of an answer that the file does not have yet."""
        if answer.status == 416:
            self.is_complete = True
        elif answer.status in (200, 206):
            # If the server ignores the range, wget skips the bytes that it has.
            known = 0 if answer.status == 206 else len(self.body)
            self.body += answer.body[known:]
            self.is_complete = answer.is_complete
        else:
            return
        self.answers.append(answer)


#: Uses an answer that was judged by these facts.
Keep = Callable[[Changing, Asked, Received, frozenset[Fact]], None]


class SoakClient:
    """One client, which remembers its incomplete downloads."""

    def __init__(
        self,
        port: int,
        images: Sequence[Changing],
        servers: Mapping[str, History],
        random: Random,
        report: Report,
    ) -> None:
        """:param servers: the facts about each server that images depend on, by its name."""
        self._port = port
        self._images = images
        self._servers = servers
        self._random = random
        self._report = report
        self._begun: dict[str, Begun] = {}

    def run(self, stopping: threading.Event) -> None:
        """Send requests until the storm is over or an answer is wrong."""
        while not stopping.is_set():
            (image,) = self._random.choices(self._images, [one.demand for one in self._images])
            (way,) = self._random.choices(_WAYS, _WEIGHTS)
            try:
                way(self, image)
            except Wrong as error:
                self._report.wrong.append(str(error))
                stopping.set()

    # The kinds of requests.

    def all_of_it(self, image: Changing) -> None:
        self._ask(image, Asked(), Pace(pause=self._pause()))

    def a_beginning(self, image: Changing) -> None:
        after = self._random.randrange(SIZES[-1])
        self._ask(image, Asked(), Pace(after, self._pause()))
        if self._random.random() < 0.5:
            self._go_on(image)

    def the_rest(self, image: Changing) -> None:
        """Continue an incomplete download of any image, if there is one."""
        begun = [one for one in self._images if one.id in self._begun]
        if begun:
            self._go_on(self._random.choice(begun))

    def _go_on(self, image: Changing) -> None:
        begun = self._begun.get(image.id)
        if begun is not None:
            asked = Asked(start=begun.length, tag=begun.tag)
            self._ask(image, asked, Pace(pause=self._pause()))

    def a_part(self, image: Changing) -> None:
        start = self._random.choice([0, self._random.randrange(SIZES[-1])])
        stop = self._random.choice([None, start + self._random.randrange(1, SIZES[-1])])
        self._ask(image, Asked(start=start, stop=stop), Pace(pause=self._pause()))

    def as_wget_does(self, image: Changing) -> None:
        """Download, and ask for the rest without If-Range each time the answer ends early."""
        file = Pieces()
        for _ in range(self._random.randrange(2, 7)):
            leaves = self._random.choice([None, None, self._random.randrange(SIZES[-1])])
            asked = Asked(start=len(file.body)) if file.body else Asked()
            file.take(asked, self._answer(image, asked, Pace(leaves, self._pause())))
            if file.is_complete:
                self._judge_file(image, bytes(file.body), file.answers)
                return

    def as_aria2_does(self, image: Changing) -> None:
        """Ask for several parts at once, repeat those that fail, and join them."""
        size = image.version.size
        count = self._random.randrange(2, 6)
        step = size // count + 1
        left = [Asked(start=at, stop=min(at + step, size)) for at in range(0, size, step)]
        parts: dict[int, Received] = {}
        for _ in range(3):
            with ThreadPoolExecutor(len(left)) as pool:
                answers = list(pool.map(lambda asked: self._answer(image, asked, Pace()), left))
            for asked, answer in zip(left, answers, strict=True):
                if answer.is_complete and answer.size_of_all == size:
                    parts[asked.start or 0] = answer
            left = [asked for asked in left if asked.start not in parts]
            if not left:
                body = b"".join(parts[start].body for start in sorted(parts))
                self._judge_file(image, body, list(parts.values()))
                return

    def _judge_file(self, image: Changing, file: bytes, answers: Sequence[Received]) -> None:
        since = min(answer.since for answer in answers)
        until = max(answer.until for answer in answers)
        facts = image.history.between(since, until)
        try:
            outcome = judge_file(file, answers, facts)
        except Wrong as error:
            told = f"{error}\n  image: {image.id}, {len(file)} bytes, {since:.3f} to {until:.3f}"
            told += "".join(
                f"\n  {one.status} {one.headers.get('etag')}"
                f" {one.headers.get('content-range')}: {len(one.body)} bytes, {one.since:.3f}"
                for one in answers
            )
            raise Wrong(f"{told}\n  facts: {sorted(map(str, facts))}") from None
        self._report.answered(image.kind, outcome, None)

    def its_head(self, image: Changing) -> None:
        self._ask(image, Asked("HEAD"), Pace())

    def if_it_is_another(self, image: Changing) -> None:
        self._ask(image, Asked(tag=image.version.checksum), Pace())

    def _pause(self) -> float:
        """Mostly 0; otherwise so long that a large image takes a second or two."""
        return self._random.choice([0, 0, 0, 0.01, 0.03])

    # One request.

    def _ask(self, image: Changing, asked: Asked, pace: Pace) -> None:
        """Send a request, and keep the bytes, to continue the download later."""
        self._answer(image, asked, pace, self._keep)

    def _answer(
        self, image: Changing, asked: Asked, pace: Pace, keep: Keep | None = None
    ) -> Received:
        """Send a request, and judge the answer."""
        with image.being_read():
            answer = fetch(self._port, image.id, asked, pace)
        facts = self._facts(image, answer)
        try:
            outcome = judge(asked, answer, facts)
            if keep is not None and answer.status in (200, 206) and asked.method == "GET":
                keep(image, asked, answer, facts)
        except Wrong as error:
            raise Wrong(_told(error, image, asked, answer, facts)) from None
        self._report.answered(image.kind, outcome, answer.status)
        if outcome == "refused":
            time.sleep(self._random.uniform(0, 0.3))
        return answer

    def _facts(self, image: Changing, answer: Received) -> frozenset[Fact]:
        histories = [image.history, *(self._servers[name] for name in image.servers)]
        return frozenset().union(*(one.between(answer.since, answer.until) for one in histories))

    def _keep(
        self, image: Changing, asked: Asked, answer: Received, facts: frozenset[Fact]
    ) -> None:
        """Join the bytes with those of the earlier answer. Bytes that may be wrong are not kept."""
        version = version_of(answer, facts)
        known = self._begun.pop(image.id, None)
        is_rest = answer.status == 206 and asked.tag is not None
        if "blurred" in facts or (answer.status == 206 and not is_rest):
            return
        begun = known if is_rest and known is not None else Begun(version.checksum, 0, _NOTHING)
        begun = begun.and_then(answer.body)
        if begun.length < version.size:
            if begun.length:
                self._begun[image.id] = begun
        elif begun.digest != version.checksum:
            raise Wrong("A WRONG BODY, put together of two answers")
        elif is_rest:
            self._report.answered(image.kind, "resumed", answer.status)


_WAYS: Sequence[Callable[[SoakClient, Changing], None]] = (
    SoakClient.all_of_it,
    SoakClient.a_beginning,
    SoakClient.the_rest,
    SoakClient.a_part,
    SoakClient.its_head,
    SoakClient.if_it_is_another,
    SoakClient.as_wget_does,
    SoakClient.as_aria2_does,
)
_WEIGHTS = (6, 2, 3, 3, 1, 1, 4, 2)


def fetch(port: int, image_id: str, asked: Asked, pace: Pace) -> Received:
    """Send a request on a new connection, and read the answer at this pace."""
    since = time.monotonic()
    status, headers, body = None, {}, bytearray()
    is_complete = has_left = False
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    try:
        connection.sock = _socket(port, is_slow=pace != Pace())
        connection.request(asked.method, f"/v1/images/{image_id}", headers=asked.headers)
        with connection.getresponse() as response:
            status = response.status
            headers = {name.lower(): value for name, value in response.getheaders()}
            has_left = not _read(response, body, pace)
            length = headers.get("content-length", str(len(body)))
            no_body = asked.method == "HEAD" or status == 304
            is_complete = not has_left and (no_body or str(len(body)) == length)
    except TimeoutError:
        raise Wrong(f"{image_id}: {asked}: hangs, after {len(body)} bytes") from None
    except (http.client.HTTPException, OSError):
        pass  # The answer is broken off.
    finally:
        connection.close()
    return Received(status, headers, bytes(body), is_complete, has_left, since, time.monotonic())


def _socket(port: int, *, is_slow: bool) -> socket.socket:
    made = socket.socket()
    made.settimeout(_TIMEOUT)
    if is_slow:
        # Otherwise the kernel accepts all that the server sends before the client reads:
        # a server may send ten of loopback's segments of 64 KiB at once.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
    try:
        made.connect(("127.0.0.1", port))
    except BaseException:
        made.close()
        raise
    return made


def _read(response: http.client.HTTPResponse, body: bytearray, pace: Pace) -> bool:
    """Read the body; returns whether it was read to its end."""
    while piece := response.read(_PIECE):
        body += piece
        if pace.leaves_after is not None and len(body) >= pace.leaves_after:
            return False
        time.sleep(pace.pause)
    return True


def _told(
    error: Wrong, image: Changing, asked: Asked, answer: Received, facts: frozenset[Fact]
) -> str:
    told = f"{error}\n  image: {image.id}\n  {asked}\n  status: {answer.status}"
    told += f"\n  headers: {dict(answer.headers)}\n  bytes: {len(answer.body)}"
    told += f", complete: {answer.is_complete}, from {answer.since:.3f} to {answer.until:.3f}"
    return told + "\n  facts:" + "".join(f"\n    {fact}" for fact in sorted(map(str, facts)))
