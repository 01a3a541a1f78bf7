# SPDX-License-Identifier: Apache-2.0
"""``imageapi serve`` as it is operated: its logs, its metrics, its health, and TLS."""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
from glanceclient.v1.client import Client

from tests.deployment import Deployment
from tests.functional.http_client import ask, begin, connection
from tests.functional.servers import Running, free_port, running, running_imageapi
from tests.functional.waiting import becomes_true
from tests.paths import BIN, ROOT

DATA = os.urandom(3_000_000)

# More than the kernel buffers for a client.
SPARSE = 200_000_000


@pytest.fixture
def logged(deployment: Deployment) -> Iterator[tuple[Running, Path]]:
    """A server of two workers with a JSON access log, and the file of that log."""
    deployment.add("i", DATA)
    deployment.add("damaged", DATA, checksum="0" * 32)
    deployment.record("large", size=SPARSE)
    with deployment.data_path("large").open("wb") as file:
        file.truncate(SPARSE)
    path = deployment.folder / "access.log"
    deployment.configure(
        core="chunk_size = 65536",
        more=f"[imageapi_serve]\nworkers = 2\naccess_log = {path}\nlog_format = json",
    )
    with running_imageapi(deployment.config_file) as server:
        yield server, path


def access_log_lines(path: Path, count: int) -> list[dict[str, Any]]:
    """The access log, once it has this many lines."""
    assert becomes_true(lambda: len(path.read_text().splitlines()) >= count)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_access_log(logged: tuple[Running, Path]) -> None:
    server, path = logged
    sent = {"X_Openstack_Request_Id": "req-of-the-client"}
    assert ask(server.port, "/v1/images/i", **sent).body == DATA
    # A line is written after the last byte, and two workers write into the file.
    access_log_lines(path, 1)
    assert ask(server.port, "/v1/images/i", Range="bytes=5-9").status == 206
    access_log_lines(path, 2)
    assert ask(server.port, "/v1/images/absent").status == 404
    assert ask(server.port, "/elsewhere?secret=1").status == 404
    found = access_log_lines(path, 4)
    facts = [(line["path"], line["status"], line["bytes"], line["outcome"]) for line in found]
    assert facts[:2] == [
        ("/v1/images/i", 200, len(DATA), "complete"),
        ("/v1/images/i", 206, 5, "complete"),
    ]
    assert [line["status"] for line in found[2:]] == [404, 404]
    assert found[0]["request_id"] == "req-of-the-client"
    assert [line["range"] for line in found] == [None, "bytes=5-9", None, None]
    assert [line["query"] for line in found] == [None, None, None, "***"]
    assert "secret" not in path.read_text()
    assert all(psutil.Process(line["process"]).parent() for line in found)


def test_access_log_tells_how_a_download_ended(logged: tuple[Running, Path]) -> None:
    server, path = logged
    with connection(server.port) as client, pytest.raises(Exception, match="IncompleteRead"):
        begin(client, "/v1/images/damaged").read()
    access_log_lines(path, 1)
    with connection(server.port) as client:
        begin(client, "/v1/images/large").read(10)
    found = access_log_lines(path, 2)
    assert [(line["status"], line["outcome"]) for line in found] == [
        (200, "broken off"),
        (200, "left"),
    ]
    assert 0 < found[0]["bytes"] < len(DATA)
    assert 0 < found[1]["bytes"] < SPARSE


def test_lines_of_a_request_have_the_id_of_its_access_line(
    logged: tuple[Running, Path], deployment: Deployment
) -> None:
    """Also a line that a thread logs after the response has begun."""
    server, path = logged
    given = {"X_Openstack_Request_Id": "req-of-the-client"}
    ids = []
    for count, sent in enumerate(({}, given, {"X_Openstack_Request_Id": "not valid"}), 1):
        # A worker that has found wrong data refuses it, so each request is for another image.
        deployment.add(f"damaged-{count}", DATA, checksum="0" * 32)
        with connection(server.port) as client, pytest.raises(Exception, match="IncompleteRead"):
            begin(client, f"/v1/images/damaged-{count}", **sent).read()
        ids.append(access_log_lines(path, count)[-1]["request_id"])
        log = (path.parent / "server.log").read_text().splitlines()
        of_request = [line for line in map(json.loads, log) if line.get("request_id") == ids[-1]]
        assert "the data's md5 is" in of_request[0]["message"]
        assert of_request[0]["level"] == "ERROR"
    assert ids[1] == "req-of-the-client"
    assert len(set(ids)) == 3
    assert ids[2].startswith("req-")


def test_log_files_that_are_rotated(deployment: Deployment) -> None:
    deployment.add("i", b"data")
    logs = {"access_log": deployment.folder / "a.log", "log_file": deployment.folder / "e.log"}
    more = "".join(f"{option} = {path}\n" for option, path in logs.items())
    deployment.configure(more=f"[imageapi_serve]\nworkers = 2\n{more}")
    with running_imageapi(deployment.config_file) as server:
        ask(server.port, "/v1/images/i")
        # The line is written after the last byte.
        assert becomes_true(lambda: logs["access_log"].read_text())
        for path in logs.values():
            path.rename(f"{path}.1")
        server.process.send_signal(signal.SIGUSR1)
        deployment.record("broken", min_ram="much")
        assert ask(server.port, "/v1/images/broken").status == 500
        assert becomes_true(lambda: all(path.exists() for path in logs.values()))
        assert becomes_true(lambda: "broken" in logs["access_log"].read_text())
        assert '"GET /v1/images/broken" 500' in logs["access_log"].read_text()
        assert re.search(
            r" ERROR imageapi\.download\.opener \[req-[0-9a-f-]+\]: image 'broken'",
            logs["log_file"].read_text(),
        )
        assert '"GET /v1/images/i" 200' in Path(f"{logs['access_log']}.1").read_text()
        assert (deployment.folder / "server.log").read_text() == ""


@pytest.mark.parametrize("is_told", [True, False])
def test_flag_that_differs_from_the_file_is_logged(deployment: Deployment, is_told: bool) -> None:
    port = free_port()
    path = deployment.config_file
    deployment.configure(more=f"[imageapi_serve]\nbind = 127.0.0.1:{port + is_told}")
    command = [str(BIN / "imageapi"), "--config-file", str(path), "serve", "--port", str(port)]
    with running(command, port, deployment.folder / "server.log"):
        log = (deployment.folder / "server.log").read_text()
    told = (
        f" WARNING imageapi.commands.serve: listens at 127.0.0.1:{port} because of --port;"
        f" [imageapi_serve] bind = 127.0.0.1:{port + 1} in {path} has no effect\n"
    )
    assert (told in log) is is_told
    assert "has no effect" not in log.replace(told, "")
    assert log.count(f": listens at http://127.0.0.1:{port}\n") == 1


def metrics_of(port: int) -> str:
    answer = ask(port, "/metrics")
    assert answer.status == 200
    return answer.body.decode()


def requests_counted(text: str) -> int:
    """How many GET requests were answered with 200."""
    pattern = r'^imageapi_requests_total\{(?=.*method="GET")(?=.*status="200").*\} ([0-9.]+)$'
    return sum(int(float(value)) for value in re.findall(pattern, text, re.MULTILINE))


def test_metrics_of_all_workers_add_up(deployment: Deployment) -> None:
    deployment.add("i", b"data")
    port = free_port()
    deployment.configure(
        core="events = prometheus",
        more=f"[imageapi_serve]\nworkers = 2\nmetrics_bind = 127.0.0.1:{port}",
    )
    with running_imageapi(deployment.config_file) as server:
        workers: set[int] = set()
        for count in range(1, 31):
            assert ask(server.port, "/v1/images/i").body == b"data"
            # A response is counted after its last byte was sent.
            assert becomes_true(lambda: requests_counted(metrics_of(port)) == count)  # noqa: B023 - called at once
            workers = {child.pid for child in psutil.Process(server.process.pid).children()}
        killed = workers.pop()
        os.kill(killed, signal.SIGKILL)
        assert becomes_true(lambda: not psutil.pid_exists(killed))
        assert becomes_true(lambda: requests_counted(metrics_of(port)) == 30)
        assert f'pid="{killed}"' not in metrics_of(port)
        assert ask(port, "/v1/images/i").status == 404
        assert ask(server.port, "/metrics").status == 404
        assert ask(port, "/metrics", "POST").status == 405


@pytest.mark.parametrize("is_named", [True, False])
def test_metrics_after_their_folder_was_removed(
    deployment: Deployment, tmp_path: Path, is_named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = tmp_path / "imageapi-metrics"
    if is_named:
        folder.mkdir()
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    port = free_port()
    deployment.configure(
        core="events = prometheus", more=f"[imageapi_serve]\nmetrics_bind = 127.0.0.1:{port}"
    )
    deployment.add("i", b"data")
    with running_imageapi(deployment.config_file) as server:
        assert ask(server.port, "/v1/images/i").status == 200
        assert becomes_true(lambda: requests_counted(metrics_of(port)) == 1)
        (folder,) = tmp_path.glob("imageapi-metrics*")
        shutil.rmtree(folder)
        assert ask(port, "/metrics").status == 503
        log = deployment.folder / "server.log"
        assert "create it, and reload imageapi serve (SIGHUP)" in log.read_text()
        (old,) = psutil.Process(server.process.pid).children()
        server.process.send_signal(signal.SIGHUP)
        assert becomes_true(lambda: not old.is_running())
        before = requests_counted(metrics_of(port))
        assert ask(server.port, "/v1/images/i").status == 200
        assert becomes_true(lambda: requests_counted(metrics_of(port)) == before + 1)
        assert f"metrics: {folder} was removed; all counts begin at 0 again" in log.read_text()
    assert len(list(tmp_path.glob("imageapi-metrics*"))) == is_named


def test_metrics_need_the_driver(deployment: Deployment) -> None:
    deployment.configure(more=f"[imageapi_serve]\nmetrics_bind = 127.0.0.1:{free_port()}")
    done = subprocess.run(
        [BIN / "imageapi", "--config-file", deployment.config_file, "serve"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    problem = "metrics_bind: needs the driver prometheus in [imageapi] events"
    assert done.stderr == f"imageapi: [imageapi_serve] {problem}\n"


def test_healthcheck(deployment: Deployment) -> None:
    access_log = deployment.folder / "access.log"
    deployment.configure(more=f"[imageapi_serve]\naccess_log = {access_log}")
    with running_imageapi(deployment.config_file) as server:
        answer = ask(server.port, "/healthcheck")
        assert (answer.status, answer.body) == (200, b"OK\n")
        assert ask(server.port, "/healthcheck?detailed").body == b"OK\n"
        assert ask(server.port, "/healthcheck", "HEAD").body == b""
        deployment.images.rmdir()
        assert ask(server.port, "/healthcheck").status == 200
        broken = ask(server.port, "/healthcheck?detailed")
        assert (broken.status, broken.body) == (503, b"store 'file' does not work\n")
        log = (deployment.folder / "server.log").read_text()
        assert f"healthcheck: store 'file': {deployment.images}: No such file or directory" in log
        # A load balancer asks every second: only the request for an image has a line.
        assert ask(server.port, "/v1/images/absent").status == 404
        assert becomes_true(lambda: "/v1/images/absent" in access_log.read_text())
        assert len(access_log.read_text().splitlines()) == 1


class TestTLS:
    @pytest.fixture
    def tls(self, deployment: Deployment) -> Iterator[tuple[int, Path]]:
        """The port of a server that speaks TLS, and the file of its authority."""
        authority = trustme.CA()
        pem, ca = deployment.folder / "server.pem", deployment.folder / "ca.pem"
        authority.cert_pem.write_to_path(ca)
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
            pem
        )
        deployment.add("i", DATA, name="one")
        port, metrics = free_port(), free_port()
        deployment.configure(
            core="events = prometheus",
            more=f"[imageapi_serve]\nbind = 127.0.0.1:{port}\ncertificate = {pem}\n"
            f"metrics_bind = 127.0.0.1:{metrics}",
        )
        command = [str(BIN / "imageapi"), "--config-file", str(deployment.config_file), "serve"]
        with running(command, port, deployment.folder / "server.log"):
            metrics_of(metrics)
            yield port, ca

    def test_python(self, tls: tuple[int, Path]) -> None:
        port, ca = tls
        context = ssl.create_default_context(cafile=ca)
        url = f"https://127.0.0.1:{port}/v1/images/i"
        with urllib.request.urlopen(url, context=context, timeout=60) as response:
            assert response.read() == DATA
            assert response.headers["X-Image-Meta-Uri"] == url
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(url, timeout=60)

    def test_curl(self, tls: tuple[int, Path], tmp_path: Path) -> None:
        port, ca = tls
        curl = ROOT / ".clients" / "usr" / "bin" / "curl"
        program = str(curl) if curl.exists() else "curl"
        target = tmp_path / "copy"
        command = [program, "--fail", "--silent", "--cacert", str(ca), "--output", str(target)]
        done = subprocess.run([*command, f"https://127.0.0.1:{port}/v1/images/i"], timeout=60)
        assert done.returncode == 0
        assert target.read_bytes() == DATA

    def test_glanceclient(self, tls: tuple[int, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        # requests prefers these to the client's own cacert.
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)
        port, ca = tls
        client = Client(f"https://127.0.0.1:{port}", token="t", cacert=str(ca))
        assert b"".join(client.images.data("i")) == DATA
        assert client.images.get("i").name == "one"

    def test_log_says_which_address_needs_tls(
        self, tls: tuple[int, Path], deployment: Deployment
    ) -> None:
        log = (deployment.folder / "server.log").read_text()
        told = rf": listens at https://127.0.0.1:{tls[0]}, http://127.0.0.1:\d+ \(only /metrics\)\n"
        assert re.search(told, log)
        assert log.count("https://") == 1

    def test_plain_http_is_no_answer(self, tls: tuple[int, Path]) -> None:
        with pytest.raises(ConnectionError):
            ask(tls[0], "/v1/images/i")
