# SPDX-License-Identifier: Apache-2.0
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from imageapi.caller import Caller
from imageapi.errors import ConfigurationError
from imageapi.events.base import Load, Outcome, RequestEnded
from imageapi.events.prometheus import PrometheusEvents, exposition, forget_process
from imageapi.testing.suite import build


def ended_without_image(**fields: Any) -> RequestEnded:
    usual: dict[str, Any] = {"method": "GET", "path": "/v1/images/x", "status": 200}
    usual |= {"outcome": Outcome.COMPLETE, "seconds": 0.05, "request_id": "req-1"}
    return RequestEnded(**usual | fields)


@pytest.fixture
def prometheus_driver() -> PrometheusEvents:
    # What an earlier test used is gone, and with it what it counted.
    gc.collect()
    return build(PrometheusEvents)


def shown() -> dict[str, float]:
    """Each sample of the exposition, by its name and labels."""
    return parsed(exposition().body.decode())


def parsed(text: str) -> dict[str, float]:
    return {
        " ".join([sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_by_method_and_status(prometheus_driver: PrometheusEvents) -> None:
    prometheus_driver.request_ended(ended_without_image())
    prometheus_driver.request_ended(ended_without_image())
    prometheus_driver.request_ended(ended_without_image(method="HEAD", status=404))
    prometheus_driver.request_ended(ended_without_image(status=None, outcome=Outcome.LEFT))
    samples = shown()
    assert samples["imageapi_requests_total method=GET status=200"] == 2
    assert samples["imageapi_requests_total method=HEAD status=404"] == 1
    assert samples["imageapi_requests_total method=GET status=none"] == 1


def test_clients_cannot_add_label_values(prometheus_driver: PrometheusEvents) -> None:
    for number in range(20):
        prometheus_driver.request_ended(ended_without_image(method=f"METHOD{number}", status=405))
    assert shown()["imageapi_requests_total method=other status=405"] == 20
    assert "METHOD" not in exposition().body.decode()


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"sent": 1234}, "imageapi_sent_bytes_total", 1234),
        ({"outcome": Outcome.BROKEN_OFF}, "imageapi_broken_off_total", 1),
        ({"outcome": Outcome.LEFT}, "imageapi_client_left_total", 1),
        ({"is_wrong": True}, "imageapi_checksum_failures_total", 1),
        ({"resumed": 3, "store": "fast"}, "imageapi_resumes_total store=fast", 3),
        ({"resumed": 1}, "imageapi_resumes_total store=none", 1),
        ({"cache": "follow"}, "imageapi_cache_downloads_total use=follow", 1),
        (
            {"seconds": 5, "sends_data": True},
            "imageapi_request_duration_seconds_sum data=yes",
            5,
        ),
        (
            {"seconds": 5, "sends_data": True},
            "imageapi_request_duration_seconds_bucket data=yes le=10.0",
            1,
        ),
    ],
)
def test_counts(prometheus_driver: PrometheusEvents, fields: Any, name: str, value: float) -> None:
    prometheus_driver.request_ended(ended_without_image())
    assert shown().get(name, 0) == 0
    prometheus_driver.request_ended(ended_without_image(**fields))
    assert shown()[name] == value


def test_gauges(prometheus_driver: PrometheusEvents) -> None:
    for _ in range(3):
        prometheus_driver.request_began()
    prometheus_driver.request_ended(ended_without_image())
    prometheus_driver.loaded(Load(busy=7, waiting=4))
    samples = shown()
    assert samples["imageapi_running_requests"] == 2
    assert samples["imageapi_busy_threads"] == 7
    assert samples["imageapi_waiting_requests"] == 4


def test_names_no_image_and_nobody(prometheus_driver: PrometheusEvents) -> None:
    caller = Caller(user_id="ann", project_id="acme", token="hunter2")
    prometheus_driver.request_ended(
        ended_without_image(image_id="my-image", path="/v1/images/my-image", caller=caller)
    )
    body = exposition().body.decode()
    assert not [text for text in ("my-image", "ann", "acme", "hunter2") if text in body]


def test_zeros_are_shown_before_the_first_request(prometheus_driver: PrometheusEvents) -> None:
    assert shown()["imageapi_broken_off_total"] == 0


def test_leaves_the_registry_of_the_application_alone(prometheus_driver: PrometheusEvents) -> None:
    prometheus_driver.request_ended(ended_without_image())
    assert not [metric for metric in REGISTRY.collect() if metric.name.startswith("imageapi")]


def test_two_drivers_of_a_process_add_up(prometheus_driver: PrometheusEvents) -> None:
    other = build(PrometheusEvents)
    prometheus_driver.request_ended(ended_without_image())
    other.request_ended(ended_without_image())
    assert shown()["imageapi_requests_total method=GET status=200"] == 2


def test_content_types(prometheus_driver: PrometheusEvents) -> None:
    assert exposition().content_type.startswith("text/plain; version=0.0.4")
    answer = exposition("application/openmetrics-text; version=1.0.0")
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.body.endswith(b"# EOF\n")


def test_one_process_says_so(prometheus_driver: PrometheusEvents) -> None:
    assert (
        prometheus_driver.check()
        == "each process counts alone (PROMETHEUS_MULTIPROC_DIR is not set)"
    )
    forget_process(1)


def test_variable_set_too_late(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="set it before the service starts"):
        build(PrometheusEvents)


# What a service of several processes does.  prometheus_client looks for the variable when it is
# imported, so this runs in a Python of its own.
SERVICE = """
import json, os, sys
from imageapi.events.base import Load, Outcome, RequestEnded
from imageapi.events.prometheus import PrometheusEvents, exposition, forget_process
from imageapi.testing.suite import build

def ended(sent):
    return RequestEnded(method="GET", path="/", status=200, outcome=Outcome.COMPLETE, sent=sent,
                        sends_data=True, seconds=2, request_id="r")

driver = build(PrometheusEvents)
told = {"check": driver.check(), "before": os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"])}
if USED_BEFORE:
    driver.request_began()
    driver.request_ended(ended(1000))
workers = []
for number in range(3):
    ready_in, ready_out = os.pipe()
    go_in, go_out = os.pipe()
    pid = os.fork()
    if not pid:
        second = build(PrometheusEvents)
        for _ in range(5):
            driver.request_began()
            driver.request_ended(ended(10))
            second.request_began()
            second.request_ended(ended(10))
        driver.request_began()
        driver.loaded(Load(busy=number + 1, waiting=2))
        os.write(ready_out, b"x")
        os.read(go_in, 1)
        os._exit(0)
    os.read(ready_in, 1)
    workers.append((pid, go_out))
told["all"] = exposition().body.decode()
pid, go_out = workers.pop(0)
os.write(go_out, b"x")
os.waitpid(pid, 0)
told["died"] = exposition().body.decode()
forget_process(pid)
told["forgotten"] = exposition().body.decode()
forget_process(pid)
for pid, go_out in workers:
    os.write(go_out, b"x")
    os.waitpid(pid, 0)
    forget_process(pid)
told["end"] = exposition().body.decode()
print(json.dumps(told))
"""


@pytest.mark.parametrize("used_before", [False, True])
def test_several_processes(tmp_path: Path, used_before: bool) -> None:
    told = run_in_multiprocess_mode(SERVICE.replace("USED_BEFORE", str(used_before)), tmp_path)
    assert told["check"] == f"all processes count in {tmp_path}"
    assert told["before"] == [], "the constructor opened files"
    of_parent = int(used_before)
    states = {name: parsed(told[name]) for name in ("all", "died", "forgotten", "end")}
    for samples in states.values():
        # Those of the dead stay counted.
        assert samples["imageapi_requests_total method=GET status=200"] == 30 + of_parent
        assert samples["imageapi_sent_bytes_total"] == 300 + 1000 * of_parent
        name = "imageapi_request_duration_seconds_bucket data=yes le=10.0"
        assert samples[name] == 30 + of_parent
    gauges = ("running_requests", "busy_threads", "waiting_requests")
    of_state = {
        state: tuple(samples.get(f"imageapi_{name}", 0) for name in gauges)
        for state, samples in states.items()
    }
    expected: dict[str, tuple[float, ...]]
    expected = {"all": (3, 6, 6), "died": (3, 6, 6), "forgotten": (2, 5, 4), "end": (0, 0, 0)}
    assert of_state == expected


def test_a_file_of_a_process_with_the_same_id(tmp_path: Path) -> None:
    program = """
import json, os
from imageapi.events.prometheus import PrometheusEvents, exposition
from imageapi.testing.suite import build
folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
driver = build(PrometheusEvents)
pid = os.fork()
if not pid:
    driver.request_began()
    os._exit(0)
os.waitpid(pid, 0)
for kind in "counter", "gauge_livesum":
    os.rename(f"{folder}/{kind}_{pid}.db", f"{folder}/{kind}_{os.getpid()}.db")
driver.request_began()
print(json.dumps({"shown": exposition().body.decode()}))
"""
    samples = parsed(run_in_multiprocess_mode(program, tmp_path)["shown"])
    assert samples["imageapi_running_requests"] == 1


@pytest.mark.parametrize(
    ("before", "hint"),
    [
        ("os.rmdir(folder)", "is not a folder that this process can write to"),
        ("del os.environ['PROMETHEUS_MULTIPROC_DIR']", "must not change afterwards"),
    ],
)
def test_a_folder_that_is_missing(tmp_path: Path, before: str, hint: str) -> None:
    program = f"""
import json, os
from imageapi.events.prometheus import PrometheusEvents, exposition
from imageapi.errors import ImageAPIError
from imageapi.testing.suite import build
folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
{before}
errors = []
for act in lambda: build(PrometheusEvents).check(), exposition:
    try:
        act()
    except ImageAPIError as error:
        errors.append(str(error))
print(json.dumps({{"errors": errors}}))
"""
    folder = tmp_path / "folder"
    folder.mkdir()
    first, second = run_in_multiprocess_mode(program, folder)["errors"]
    assert hint in first
    assert "is not a folder that this process can write to: create it, and reload" in second


def test_a_folder_that_was_created_again(tmp_path: Path) -> None:
    """The process still counts in the files that were removed, so its sums would be wrong."""
    program = """
import json, os, shutil
from imageapi.events.prometheus import PrometheusEvents, exposition
from imageapi.errors import BackendUnavailable
from imageapi.testing.suite import build
folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
driver = build(PrometheusEvents)
driver.request_began()
exposition()
shutil.rmtree(folder)
os.mkdir(folder)
errors = []
for act in driver.check, exposition:
    try:
        act()
    except BackendUnavailable as error:
        errors.append(str(error))
print(json.dumps(errors))
"""
    folder = tmp_path / "folder"
    folder.mkdir()
    told = (
        f"{str(folder)!r}, which PROMETHEUS_MULTIPROC_DIR names, has lost the files of this"
        " process: reload imageapi serve (SIGHUP), or restart the service; the counts then begin"
        " at 0"
    )
    assert run_in_multiprocess_mode(program, folder) == [told] * 2


def run_in_multiprocess_mode(program: str, folder: Path) -> Any:
    """Run a program in multiprocess mode; what it prints is JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert not done.stderr, done.stderr.decode()
    return json.loads(done.stdout)
