# SPDX-License-Identifier: Apache-2.0
"""The lines of a server's log, each of which a page of the documentation explains."""

import re
from collections import Counter
from typing import NamedTuple


class Explained(NamedTuple):
    """A kind of line.

    :ivar pattern: matches the message from its beginning.
    :ivar words: explain it in docs/operations.md.
    """

    pattern: str
    words: str


_IMAGE = r"(image '[^']*'|a list): (store|registry) '\w+': (broken off at byte \d+: )?"
_HTTP = r"http://\S+ "
_PATH = r"/\S+?:? "

#: The beginning of a kind that is a line itself.
NOT_EXPLAINED = "NOT EXPLAINED: "

EXPLAINED = (
    Explained(
        rf"{_IMAGE}{_HTTP}(cannot be reached|closed the connection early|timed out"
        "|answers with status 5)",
        "`answers with status 503` and the like",
    ),
    Explained(rf"{_IMAGE}{_HTTP}answers with status 404", "`store …: … answers with status 404`"),
    Explained(rf"{_IMAGE}{_HTTP}answers with status 412", "`answers with status 412`"),
    Explained(rf"{_IMAGE}{_HTTP}returned an invalid 416", "`returned an invalid 416`"),
    Explained(rf"{_IMAGE}the database: ", "`the database: …`"),
    Explained(rf"{_IMAGE}\S+@snap: ", "`POOL/IMAGE@SNAP: …`"),
    Explained(rf"{_IMAGE}\S+@snap was removed", "`was removed, or is no longer protected`"),
    Explained(rf"{_IMAGE}{_PATH}No such file or", "`store …: No such file or directory`"),
    Explained(rf"{_IMAGE}the data is \d+ bytes, not", "`the data is 50 bytes, not 100 as"),
    Explained(rf"{_IMAGE}the data's \w+ is \w+, not", "`the data's md5 is …, not …"),
    Explained(rf"{_IMAGE}the data had the wrong", "`the data had the wrong md5 less than"),
    Explained(rf"{_IMAGE}{_PATH}was changed while", "`was changed while it was read`"),
    Explained(
        rf"{_IMAGE}\S+ (the data )?has changed since", "`has changed since the download began`"
    ),
    Explained(r"image '[^']*': store '\w+': resuming at byte", "`resuming at byte …`"),
    Explained(
        r"image '[^']*': store '\w+': continuing without",
        "`continuing without the cache at byte …`",
    ),
    Explained(
        r"image '[^']*': store '\w+': the data cannot be examined", "`the data cannot be examined`"
    ),
    Explained(r"image '[^']*': its data is not kept: ", "`its data is not kept`"),
    Explained(
        rf"{_PATH}(does not fit|is removed to make)", "`does not fit`, `is removed to make room`"
    ),
    Explained(rf"{_PATH}was changed, or not", "`was changed, or not completed: removed`"),
    Explained(rf"{_HTTP}.*; retrying in", "`retrying in … s`"),
    Explained("Connection pool is full", "`Connection pool is full, discarding connection`"),
    Explained(
        r"(listens at|Listening at:|Starting gunicorn|Using worker|Booting worker|Worker exiting"
        r"|Waiting for \d+ connections|Worker shutting down|Shutting down: Master"
        r"|Handling signal: (hup|term)|Hang up: Master|Worker \(pid:\d+\) was sent SIGTERM)",
        "`Booting worker`, `Worker exiting`, `Handling signal`, `Listening at` and the like",
    ),
    Explained(r"Worker \(pid:\d+\) was sent SIGKILL", "`was sent SIGKILL`"),
)
BROKEN_OFF = "a traceback with `Error in ASGI application` or `Error handling request`"

# The time, and with gunicorn the process and the level, or with serve the logger.
_BEFORE = re.compile(
    r"(\S+Z \d+ [A-Z]+ [\w.]+( \[[\w-]+\])?: |\[\d{4}-[^]]*\] \[\d+\] \[[A-Z]+\] )?"
)

# A traceback: the line before it, and its last line.
_TRACEBACK = re.compile(
    r"^.*(Error in ASGI application|Error handling request.*)\n"
    r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*"
    r"imageapi\.(errors|backends\.http_client\.client)\.(?!ForeignError)\w+: .*\n",
    re.M,
)


def kinds_of(text: str) -> Counter[str]:
    """Count the lines by kind.

    :returns: by the words that explain a line, or by the line itself if it is not explained.
    """
    # imageapi breaks a body off by an exception, which gunicorn logs.
    text, tracebacks = _TRACEBACK.subn("", text)
    kinds = Counter({BROKEN_OFF: tracebacks})
    for line in filter(None, text.splitlines()):
        kinds[_kind(_BEFORE.sub("", line, count=1))] += 1
    return kinds


def _kind(message: str) -> str:
    for pattern, words in EXPLAINED:
        if re.match(pattern, message):
            return words
    return NOT_EXPLAINED + message
