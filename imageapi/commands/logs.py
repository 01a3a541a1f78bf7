# SPDX-License-Identifier: Apache-2.0
"""Where the lines of ``imageapi serve`` go, and what they look like."""

import contextlib
import contextvars
import json
import logging
import logging.handlers
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from imageapi.commands.shown_request import shown_query, shown_range
from imageapi.events.base import RequestEnded
from imageapi.protocol.value_text import CONTROL

#: How long a failure to write a log is not told again.
QUIET_SECONDS = 60.0

ACCESS = logging.getLogger("imageapi.access")

_SPACE = re.compile(r"\s")

#: The id of the request that is handled; empty outside of a request.
REQUEST_ID = contextvars.ContextVar("imageapi_request_id", default="")


def configure(log_file: str | None, access_log: str | None, log_format: str, *, level: int) -> None:
    """Set up the logs of this process, which belongs to the command.

    A file that was renamed is created again at the next line.

    :param log_file: the file of the log; None for standard error.
    :param access_log: the file of the access log; ``-`` for standard output, empty for none.
    :param log_format: ``text`` or ``json``.
    :raises OSError: a file cannot be opened for writing.
    """
    root = logging.getLogger()
    root.handlers[:] = [_handler(log_file, sys.stderr, _formatter(log_format))]
    root.setLevel(logging.WARNING)
    logging.getLogger("imageapi").setLevel(level)
    ACCESS.propagate = False
    ACCESS.handlers[:] = []
    if access_log:
        ACCESS.setLevel(logging.INFO)
        name = None if access_log == "-" else access_log
        ACCESS.handlers[:] = [_handler(name, sys.stdout, _access_formatter(log_format))]
    else:
        ACCESS.setLevel(logging.CRITICAL)


def _handler(path: str | None, stream: TextIO, formatter: logging.Formatter) -> logging.Handler:
    handler = _Stream(stream) if path is None else _File(path, encoding="utf-8")
    handler.setFormatter(formatter)
    return handler


class _Forgiving(logging.Handler):
    """A handler whose failures stop nothing.

    A line that cannot be written goes to standard error.  What failed is told there at most
    once a minute.
    """

    _quiet_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            # The file was renamed, and no new one can be created.
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        _, error, _ = sys.exc_info()
        now = time.monotonic()
        with contextlib.suppress(OSError, ValueError):
            if now >= self._quiet_until:
                self._quiet_until = now + QUIET_SECONDS
                print(f"imageapi: a log cannot be written: {error}", file=sys.stderr)
            if getattr(self, "stream", None) is not sys.stderr:
                print(self.format(record), file=sys.stderr)


class _Stream(_Forgiving, logging.StreamHandler[TextIO]):
    pass


class _File(_Forgiving, logging.handlers.WatchedFileHandler):
    pass


def _formatter(log_format: str) -> logging.Formatter:
    if log_format == "json":
        return _JSONFormatter()
    return _TextLog("%(asctime)s %(process)d %(levelname)s %(name)s%(request)s: %(message)s")


def _access_formatter(log_format: str) -> logging.Formatter:
    return _JSONAccess() if log_format == "json" else _TextAccess()


class _TextFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


class _TextLog(_TextFormatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        request_id = REQUEST_ID.get()
        record.__dict__["request"] = f" [{request_id}]" if request_id else ""
        return super().formatMessage(record)


class _JSONFormatter(_TextFormatter):
    def format(self, record: logging.LogRecord) -> str:
        line = _line(self, record)
        if REQUEST_ID.get():
            line["request_id"] = REQUEST_ID.get()
        line.update(level=record.levelname, logger=record.name, message=record.getMessage())
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _line(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    return {"time": formatter.formatTime(record), "process": record.process}


def _fields(event: RequestEnded) -> Mapping[str, object]:
    return {
        "remote_address": event.remote_address,
        "project": event.caller.project_id,
        "user": event.caller.user_id,
        "method": event.method,
        "path": event.path,
        "query": shown_query(event.query),
        "range": shown_range(event.range),
        "status": event.status,
        "bytes": event.sent,
        "seconds": round(event.seconds, 3),
        "outcome": event.outcome.value,
        "request_id": event.request_id,
        "cache": event.cache,
    }


class _JSONAccess(_TextFormatter):
    def format(self, record: logging.LogRecord) -> str:
        event: RequestEnded = record.__dict__["event"]
        return json.dumps({**_line(self, record), **_fields(event)})


class _TextAccess(_TextFormatter):
    """A line of columns.

    ADDRESS PROJECT [TIME] "METHOD PATH" STATUS BYTES SECONDS "OUTCOME" REQUEST-ID PROCESS USER
    "RANGE" "QUERY"
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(_fields(record.__dict__["event"]))
        text = {name: _shown(value) for name, value in fields.items()}
        project, user = (_SPACE.sub("?", text[name]) for name in ("project", "user"))
        return (
            f"{text['remote_address']} {project} [{self.formatTime(record)}]"
            f' "{text["method"]} {text["path"]}" {text["status"]} {text["bytes"]}'
            f' {fields["seconds"]:.3f} "{text["outcome"]}" {text["request_id"]} {record.process}'
            f' {user} "{text["range"]}" "{text["query"]}"'
        )


def _shown(value: object) -> str:
    """Return a value without quotes and control characters, so that lines can be parsed."""
    if value is None or value == "":
        return "-"
    return CONTROL.sub("?", str(value)).replace('"', "?")
