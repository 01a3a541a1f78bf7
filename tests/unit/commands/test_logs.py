# SPDX-License-Identifier: Apache-2.0
import contextlib
import contextvars
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imageapi import Caller
from imageapi.commands import logs
from imageapi.commands.access_log import AccessLog
from imageapi.events.base import Outcome, RequestEnded


@pytest.fixture(autouse=True)
def access_log_as_it_was() -> Iterator[None]:
    yield
    for handler in (*logs.ACCESS.handlers, *logging.getLogger().handlers):
        if isinstance(handler, logging.FileHandler):
            with contextlib.suppress(OSError):  # /dev/full
                handler.close()
    logs.ACCESS.handlers[:] = []


def event(**fields: Any) -> RequestEnded:
    given: dict[str, Any] = {
        "method": "GET",
        "path": "/v1/images/i",
        "caller": Caller(project_id="p1", user_id="u1", token="s3cret"),
        "status": 200,
        "outcome": Outcome.COMPLETE,
        "sent": 5,
        "seconds": 0.0123,
        "remote_address": "192.0.2.1",
        "request_id": "req-1",
    }
    return RequestEnded(**{**given, **fields})


def configure(folder: Path, log_format: str = "text", access_log: str | None = None) -> None:
    access = str(folder / "access.log") if access_log is None else access_log
    logs.configure(str(folder / "log"), access, log_format, level=logging.INFO)


def test_access_line(tmp_path: Path) -> None:
    configure(tmp_path)
    AccessLog().request_ended(event())
    line = (tmp_path / "access.log").read_text()
    assert re.fullmatch(
        r"192\.0\.2\.1 p1 \[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]"
        r' "GET /v1/images/i" 200 5 0\.012 "complete" req-1 \d+ u1 "-" "-"\n',
        line,
    )


@pytest.mark.parametrize("value", ['a" 200 1 0.0 "b', "a\nb", "a\x1b[31mb"])
def test_value_of_a_client_forges_no_line(tmp_path: Path, value: str) -> None:
    configure(tmp_path)
    AccessLog().request_ended(
        event(
            method=value,
            query=f"name={value}",
            range=value,
            caller=Caller(project_id=value, user_id=value),
        )
    )
    text = (tmp_path / "access.log").read_text()
    assert text.count("\n") == 1
    assert text.count('"') == 8
    assert text[:-1].isprintable()


def test_query_and_range(tmp_path: Path) -> None:
    configure(tmp_path)
    AccessLog().request_ended(event(query="limit=2&token=s3cret", range="bytes=0-4"))
    line = (tmp_path / "access.log").read_text()
    assert line.endswith(' u1 "bytes=0-4" "limit=2&***"\n')


def test_value_of_a_client_forges_no_column(tmp_path: Path) -> None:
    configure(tmp_path)
    AccessLog().request_ended(event(caller=Caller(project_id="a b", user_id="c\td")))
    line = (tmp_path / "access.log").read_text()
    assert line.startswith("192.0.2.1 a?b [")
    assert line.endswith(' c?d "-" "-"\n')


def test_missing_values_are_hyphens(tmp_path: Path) -> None:
    configure(tmp_path)
    AccessLog().request_ended(event(status=None, remote_address=None, caller=Caller()))
    line = (tmp_path / "access.log").read_text()
    assert line.startswith("- - [")
    assert '" - 5 0.012 ' in line


def test_json(tmp_path: Path) -> None:
    configure(tmp_path, "json")
    AccessLog().request_ended(event(outcome=Outcome.BROKEN_OFF))
    found = json.loads((tmp_path / "access.log").read_text())
    assert found.pop("time").endswith("Z")
    assert isinstance(found.pop("process"), int)
    assert found == {
        "remote_address": "192.0.2.1",
        "project": "p1",
        "user": "u1",
        "method": "GET",
        "path": "/v1/images/i",
        "query": None,
        "range": None,
        "status": 200,
        "bytes": 5,
        "seconds": 0.012,
        "outcome": "broken off",
        "request_id": "req-1",
        "cache": None,
    }


@pytest.mark.parametrize(("log_format", "shown"), [("json", True), ("text", False)])
def test_use_of_the_cache_is_in_json_only(tmp_path: Path, log_format: str, shown: bool) -> None:
    configure(tmp_path, log_format)
    AccessLog().request_ended(event(cache="hit"))
    assert ('"cache": "hit"' in (tmp_path / "access.log").read_text()) is shown


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_line_of_the_log_has_time_and_process(tmp_path: Path, log_format: str) -> None:
    configure(tmp_path, log_format)
    try:
        raise ValueError("a bug")
    except ValueError:
        logging.getLogger("imageapi.api").exception("it failed")
    text = (tmp_path / "log").read_text()
    if log_format == "json":
        found = json.loads(text)
        assert (found["level"], found["logger"], found["message"]) == (
            "ERROR",
            "imageapi.api",
            "it failed",
        )
        assert found["traceback"].endswith("ValueError: a bug")
    else:
        first, *_, last = text.splitlines()
        assert re.fullmatch(r"\S+T\S+Z \d+ ERROR imageapi\.api: it failed", first)
        assert last == "ValueError: a bug"


@pytest.mark.parametrize(
    ("log_format", "told"),
    [
        ("text", " ERROR imageapi.api [req-1]: it failed\n"),
        ("json", '"request_id": "req-1", "level": "ERROR"'),
    ],
)
def test_line_of_a_request_has_its_id(tmp_path: Path, log_format: str, told: str) -> None:
    configure(tmp_path, log_format)
    logging.getLogger("imageapi.api").error("at the start")
    within = contextvars.copy_context()
    within.run(logs.REQUEST_ID.set, "req-1")
    within.run(logging.getLogger("imageapi.api").error, "it failed")
    without, line = (tmp_path / "log").read_text().splitlines(keepends=True)
    assert "req" not in without
    assert told in line


def test_renamed_files_are_created_again(tmp_path: Path) -> None:
    configure(tmp_path)
    for name in ("log", "access.log"):
        logging.getLogger("imageapi").info("before")
        AccessLog().request_ended(event(request_id="before"))
        (tmp_path / name).rename(tmp_path / f"{name}.1")
        logging.getLogger("imageapi").info("after")
        AccessLog().request_ended(event(request_id="after"))
        assert "before" in (tmp_path / f"{name}.1").read_text()
        assert "before" not in (tmp_path / name).read_text()


def test_no_access_log(tmp_path: Path) -> None:
    configure(tmp_path, access_log="")
    AccessLog().request_ended(event())
    assert logs.ACCESS.handlers == []


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        configure(tmp_path / "absent")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_log_that_cannot_be_written_stops_nothing(
    tmp_path: Path, log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was renamed, and the folder is gone: lines go to standard error, until it is back."""
    folder = tmp_path / "logs"
    folder.mkdir()
    configure(folder, log_format)
    log = logging.getLogger("imageapi")
    log.info("first")
    gone = folder.rename(tmp_path / "gone")
    for number in range(3):
        log.info("line %d", number)
        AccessLog().request_ended(event(request_id=f"req-{number}"))
    told = capsys.readouterr().err
    assert told.count("imageapi: a log cannot be written: [Errno 2] No such file") == 2
    assert all(f"line {number}" in told and f"req-{number}" in told for number in range(3))
    gone.rename(folder)
    log.info("again")
    assert "again" in (folder / "log").read_text()


def test_full_disk_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("/dev/full", "", "text", level=logging.INFO)
    for _ in range(3):
        logging.getLogger("imageapi").info("a line")
    told = capsys.readouterr().err
    assert told.count("a log cannot be written: [Errno 28] No space left on device") == 1
    assert told.count("a line") == 3
    assert "Traceback" not in told
