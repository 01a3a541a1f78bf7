# SPDX-License-Identifier: Apache-2.0
import threading
from typing import Any

import pytest

from imageapi import lazy_api
from imageapi.config.files import load_config
from imageapi.config.plugins import Backends
from imageapi.lazy_api import LazyAPI
from tests.deployment import Deployment, get


@pytest.fixture
def new_application(monkeypatch: pytest.MonkeyPatch) -> LazyAPI:
    """``imageapi.wsgi:application`` of a process that has just started."""
    monkeypatch.delenv("IMAGEAPI_CONFIG_FILE", raising=False)
    return LazyAPI()


def test_application_reads_the_files_that_the_environment_names(
    new_application: LazyAPI, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.add("i", b"data")
    more = deployment.folder / "more.conf"
    more.write_text("[imageapi]\npublic_endpoint = http://more.example\n")
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", f"{deployment.config_file}:{more}")
    response = get(new_application, "/v1/images/i")
    assert response.body == b"data"
    assert response.headers["X-Image-Meta-Uri"] == "http://more.example/v1/images/i"


def test_application_tells_what_is_wrong_to_the_log_only(
    new_application: LazyAPI,
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    deployment.add("i", b"data")
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", str(deployment.config_file))
    deployment.configure(core="registry = flie")
    response = get(new_application, "/v1/images/i")
    assert response.status_code == 500
    assert "flie" not in response.text
    head = get(new_application, "/v1/images/i", method="HEAD")
    assert head.headerlist == response.headerlist
    assert "configuration: [imageapi] registry: no installed distribution" in caplog.text
    deployment.configure()
    assert get(new_application, "/v1/images/i").body == b"data"


def test_application_names_a_missing_file(
    new_application: LazyAPI,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", "/absent/imageapi.conf")
    assert get(new_application, "/v1/images/i").status_code == 500
    assert "/absent/imageapi.conf" in caplog.text


def test_two_first_requests_at_once_make_one_api(
    new_application: LazyAPI, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.add("i", b"data")
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", str(deployment.config_file))
    loading, loading_again = threading.Event(), threading.Event()

    def slow(files: Any) -> Any:
        (loading_again if loading.is_set() else loading).set()
        loading_again.wait(0.3)
        return load_config(files)

    monkeypatch.setattr(lazy_api, "load_config", slow)
    bodies: list[bytes] = []

    def ask() -> None:
        bodies.append(get(new_application, "/v1/images/i").body)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [b"data", b"data"]
    assert not loading_again.is_set()
    new_application.close()


def test_nothing_is_made_before_the_first_request(
    new_application: LazyAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lazy_api, "load_config", lambda files: pytest.fail("it is loaded"))
    new_application.close()


def test_close_closes_the_backends(
    new_application: LazyAPI, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEAPI_CONFIG_FILE", str(deployment.config_file))
    closed: list[Backends] = []
    monkeypatch.setattr(Backends, "close", lambda backends: closed.append(backends))
    assert get(new_application, "/v1/images/absent").status_code == 404
    new_application.close()
    assert len(closed) == 1
