# SPDX-License-Identifier: Apache-2.0
"""The store rbd with a real Ceph, and with its faults."""

import hashlib
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import webob

import imageapi
from imageapi.backends.rbd.store import RBDStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import (
    BackendError,
    BackendUnavailable,
    BadReply,
    DataChanged,
    DataNotFound,
    LocationRefused,
)
from imageapi.image import Location
from imageapi.testing.suite import build
from tests.deployment import Deployment, get, received_of
from tests.functional.ceph import USER, Ceph, needs_ceph, running_ceph
from tests.functional.openstack import ENVIRONMENTS
from tests.functional.raw_client import Pause, exchange
from tests.functional.servers import serving
from tests.functional.waiting import wait_until
from tests.paths import ROOT

pytestmark = needs_ceph

CHUNK = 65536
DATA = os.urandom(20 * CHUNK + 1)


@pytest.fixture(scope="module")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    with running_ceph(tmp_path_factory.mktemp("ceph")) as server:
        yield server


@pytest.fixture(name="pool")
def pool_with_image(ceph: Ceph) -> str:
    """A pool with one image, ``i``."""
    name = ceph.new_pool()
    ceph.put(name, "i", DATA)
    return name


@pytest.fixture(name="make_store")
def stores_of_pool(ceph: Ceph, pool: str) -> Iterator[Callable[..., RBDStore]]:
    """Makes a store of the pool, whose timeouts no busy machine exceeds."""
    with ExitStack() as stores:

        def make(**options: object) -> RBDStore:
            usual = {"ceph_conf": str(ceph.config), "user": USER, "pool": pool}
            store = build(RBDStore, **{**usual, "connect_timeout": 60, **options})
            return stores.enter_context(closing(store))

        yield make


def read(store: RBDStore, url: str = "rbd://i") -> bytes:
    with closing(store.open(Location(url), caller=ANONYMOUS)) as blob:
        return b"".join(blob)


@pytest.fixture
def rbd_images(ceph: Ceph, pool: str, deployment: Deployment) -> Deployment:
    """Records in a folder, with the data of ``i`` in Ceph."""
    configure_rbd(deployment, ceph, pool)
    deployment.record(
        "i",
        size=len(DATA),
        checksum=hashlib.md5(DATA).hexdigest(),
        location=ceph.url(pool, "i"),
    )
    return deployment


def configure_rbd(
    deployment: Deployment, ceph: Ceph, pool: str, more: str = "", core: str = ""
) -> None:
    section = f"[imageapi_store_rbd]\nceph_conf = {ceph.config}\nuser = {USER}\npool = {pool}\n"
    usual = f"stores = rbd\npolicy = visible\nchunk_size = {CHUNK}\n"
    deployment.configure(usual + core, section + more)


@pytest.fixture
def rbd_api(rbd_images: Deployment) -> Iterator[imageapi.ImageAPI]:
    with closing(rbd_images.api()) as api:
        yield api


# Without faults.


def test_downloads(rbd_api: imageapi.ImageAPI) -> None:
    response = get(rbd_api, "/v1/images/i")
    assert (response.status_code, response.body) == (200, DATA)
    part = get(rbd_api, "/v1/images/i", Range="bytes=65530-200000")
    assert (part.status_code, part.body) == (206, DATA[65530:200001])
    head = get(rbd_api, "/v1/images/i", "HEAD")
    assert head.headers["Content-Length"] == str(len(DATA))


def test_names_of_any_characters(
    ceph: Ceph, pool: str, make_store: Callable[..., RBDStore]
) -> None:
    ceph.put(pool, "a b/ü%2F@x", b"data", "one snap")
    url = ceph.url(pool, "a b/ü%2F@x", "one snap")
    assert url.endswith("/a%20b%2F%C3%BC%252F%40x/one%20snap")
    assert read(make_store(), url) == b"data"


def test_record_without_a_location(make_store: Callable[..., RBDStore]) -> None:
    store = make_store()
    assert read(store, store.locate("i").url) == DATA


def test_pools_and_clusters_that_are_refused(
    ceph: Ceph, pool: str, make_store: Callable[..., RBDStore]
) -> None:
    other = ceph.new_pool()
    ceph.put(other, "i", b"of another pool")
    url = ceph.url(other, "i")
    assert read(make_store(allowed_pools=[other]), url) == b"of another pool"
    store = make_store()
    with pytest.raises(LocationRefused, match="pool is not in allowed_pools"):
        read(store, url)
    with pytest.raises(LocationRefused, match=f"its fsid is not {ceph.fsid}"):
        read(store, ceph.url(pool, "i").replace(ceph.fsid, "0" * 36))


def test_snapshot_that_is_not_protected(
    ceph: Ceph, pool: str, make_store: Callable[..., RBDStore]
) -> None:
    ceph.unprotect(pool, "i")
    with pytest.raises(LocationRefused, match=f"run rbd snap protect {pool}/i@snap"):
        read(make_store())


def test_check(ceph: Ceph, pool: str, make_store: Callable[..., RBDStore]) -> None:
    empty = ceph.new_pool()
    told = make_store(allowed_pools=[empty]).check()
    assert told == f"pool {pool}, {empty} of Ceph cluster {ceph.fsid}"
    with pytest.raises(BackendUnavailable, match="pool nowhere of Ceph cluster"):
        make_store(pool="nowhere").check()
    with pytest.raises(BackendUnavailable, match="Ceph cluster of /nowhere"):
        make_store(ceph_conf="/nowhere").check()


# Glance's own store, of the Glance in `ENVIRONMENTS`.
GLANCE_STORE = """\
import io, sys
import glance_store
from oslo_config import cfg

_, ceph_conf, pool, data = sys.argv
conf = cfg.ConfigOpts()
glance_store.register_opts(conf)
conf([], default_config_files=[])
conf.set_override("stores", ["rbd"], group="glance_store")
conf.set_override("rbd_store_ceph_conf", ceph_conf, group="glance_store")
conf.set_override("rbd_store_user", "admin", group="glance_store")
conf.set_override("rbd_store_pool", pool, group="glance_store")
glance_store.create_stores(conf)
with open(data, "rb") as file:
    # It does not know the size, as with an upload in chunks.
    url, *_ = glance_store.add_to_backend(conf, "stored", file, 0, "rbd")
print(url, flush=True)
sys.stdin.readline()
glance_store.delete_from_backend(url)
"""


def test_image_that_glance_stores_and_deletes(
    ceph: Ceph, pool: str, rbd_images: Deployment, rbd_api: imageapi.ImageAPI, tmp_path: Path
) -> None:
    (tmp_path / "data").write_bytes(DATA)
    python = str(ENVIRONMENTS / "glance" / "bin" / "python")
    command = [python, "-c", GLANCE_STORE, str(ceph.config), pool, str(tmp_path / "data")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as glance:
        assert glance.stdout is not None
        url = glance.stdout.readline().strip()
        assert url == ceph.url(pool, "stored")
        rbd_images.record("i", size=len(DATA), location=url)
        assert get(rbd_api, "/v1/images/i").body == DATA
        response = begin_download(rbd_api)
        assert glance.communicate("delete\n", timeout=60)[0] == ""
    assert glance.returncode == 0
    received, is_complete = received_of(response)
    assert not is_complete
    assert DATA.startswith(received)
    assert get(rbd_api, "/v1/images/i").status_code == 404


# What is removed.


def put_anew(ceph: Ceph, pool: str) -> None:
    """Remove the image, and put another one under its name."""
    ceph.remove(pool, "i")
    ceph.put(pool, "i", DATA[::-1])


REMOVALS: dict[str, Callable[[Ceph, str], None]] = {
    "protection": lambda ceph, pool: ceph.unprotect(pool, "i"),
    "snapshot": lambda ceph, pool: ceph.remove_snapshot(pool, "i"),
    "image": lambda ceph, pool: ceph.remove(pool, "i"),
    "pool": lambda ceph, pool: ceph.remove_pool(pool),
    "replaced": put_anew,
}


@pytest.mark.parametrize("what", REMOVALS)
def test_removed_while_it_is_read(
    ceph: Ceph, pool: str, rbd_api: imageapi.ImageAPI, what: str
) -> None:
    """librbd itself would go on with zeros."""
    response = begin_download(rbd_api)
    part = begin_download(rbd_api, Range="bytes=65536-1000000")
    REMOVALS[what](ceph, pool)
    for answer, wanted in ((response, DATA), (part, DATA[65536:1_000_001])):
        received, is_complete = received_of(answer)
        assert not is_complete
        assert CHUNK <= len(received) < len(wanted)
        assert wanted.startswith(received)


@pytest.mark.parametrize(("what", "status"), [("snapshot", 404), ("image", 404), ("pool", 503)])
def test_removed_before(
    ceph: Ceph, pool: str, rbd_api: imageapi.ImageAPI, what: str, status: int
) -> None:
    assert get(rbd_api, "/v1/images/i").body == DATA
    REMOVALS[what](ceph, pool)
    assert get(rbd_api, "/v1/images/i").status_code == status


@pytest.mark.parametrize("fault", [Ceph.damage, Ceph.lose])
def test_damaged_data_is_never_complete(
    ceph: Ceph, pool: str, rbd_api: imageapi.ImageAPI, fault: Callable[..., None]
) -> None:
    """The checksum of the record shows it, and the next request is refused at once."""
    fault(ceph, pool, "i")
    received, is_complete = received_of(begin_download(rbd_api))
    assert not is_complete
    assert len(received) < len(DATA)
    assert get(rbd_api, "/v1/images/i").status_code == 500


def begin_download(api: imageapi.ImageAPI, **headers: str) -> webob.Response:
    """An answer whose first chunk has been read."""
    response = get(api, "/v1/images/i", **headers)
    assert response.status_code in (200, 206)
    return response


# Servers that fail.


def test_frozen_osd(
    ceph: Ceph, pool: str, rbd_images: Deployment, rbd_api: imageapi.ImageAPI
) -> None:
    """The timeout bounds each request; a busy machine may exceed it before."""
    assert get(rbd_api, "/v1/images/i").body == DATA
    configure_rbd(rbd_images, ceph, pool, "operation_timeout = 1", "resume_attempts = 0")
    with closing(rbd_images.api()) as impatient:
        wait_until(lambda: get(impatient, "/v1/images/i").status_code == 200, "no answer")
        begun = [get(impatient, "/v1/images/i") for _ in range(2)]
        with ceph.frozen("osd"):
            refused = get(impatient, "/v1/images/i")
            ends = [received_of(response) for response in begun]
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    assert not any(is_complete for _, is_complete in ends)
    assert all(DATA.startswith(received) for received, _ in ends if received)
    assert get(rbd_api, "/v1/images/i").body == DATA


@pytest.mark.parametrize(
    ("fault", "error"), [("frozen", BackendUnavailable), ("removed", DataChanged)]
)
def test_while_a_fast_client_reads(
    ceph: Ceph, pool: str, make_store: Callable[..., RBDStore], fault: str, error: type[Exception]
) -> None:
    """The next chunk was read ahead before the fault, or is being read."""
    data = os.urandom(6 * 1024 * 1024)
    ceph.put(pool, "large", data)
    store = make_store(**({"operation_timeout": 5} if fault == "frozen" else {}))
    location = Location("rbd://large")
    with ExitStack() as stack:
        blob = stack.enter_context(closing(store.open(location, caller=ANONYMOUS)))
        blob.preferred_chunk_size = 1
        received = next(blob)
        if fault == "frozen":
            stack.enter_context(ceph.frozen("osd"))
        else:
            ceph.remove_snapshot(pool, "large")
        with pytest.raises(error):
            next(blob)
    assert received == data[: len(received)]
    assert len(received) == 2 * 1024 * 1024


def thaw_later(ceph: Ceph) -> None:
    """Freeze the OSD for a second."""
    frozen = ExitStack()
    frozen.enter_context(ceph.frozen("osd"))
    threading.Timer(1, frozen.close).start()


def restarted_by(end: Callable[[Ceph, str], None]) -> Callable[[Ceph], None]:
    def restart(ceph: Ceph) -> None:
        end(ceph, "osd")
        ceph.start("osd")

    return restart


@pytest.mark.parametrize(
    "do",
    [restarted_by(Ceph.kill), restarted_by(Ceph.stop), thaw_later],
    ids=["killed", "stopped", "frozen"],
)
def test_osd_that_comes_back_in_the_middle_of_a_download(
    ceph: Ceph, pool: str, rbd_images: Deployment, do: Callable[[Ceph], None]
) -> None:
    """The client notices nothing."""
    large = DATA * 10  # more than the sockets hold
    ceph.put(pool, "large", large)
    rbd_images.record("large", size=len(large), location=ceph.url(pool, "large"))
    request = b"GET /v1/images/large HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(rbd_images.config_file) as port:
        answer = exchange(port, request, Pause(1, lambda: do(ceph)))
    assert (answer.status, answer.body, answer.connection) == (200, large, "open")


def test_monitor_is_away_and_returns(ceph: Ceph, make_store: Callable[..., RBDStore]) -> None:
    """A store that is connected needs no monitor."""
    connected, later = make_store(), make_store(connect_timeout=1)
    assert read(connected) == DATA
    ceph.stop("mon")
    try:
        assert read(connected) == DATA
        with pytest.raises(BackendUnavailable, match="Ceph cluster of"):
            read(later)
    finally:
        ceph.start("mon")
    wait_until(lambda: is_readable(later), "the store does not connect again")
    assert read(connected) == DATA


def is_readable(store: RBDStore) -> bool:
    try:
        return read(store) == DATA
    except BackendUnavailable:
        return False


def test_revoked_credentials(ceph: Ceph, make_store: Callable[..., RBDStore]) -> None:
    ceph.new_user("client.gone", mon="profile rbd-read-only", osd="profile rbd-read-only")
    connected = make_store(user="gone")
    blob = connected.open(Location("rbd://i"), caller=ANONYMOUS)
    begin = next(blob)
    ceph.command("auth rm", entity="client.gone")
    # A connection keeps its ticket for an hour, so that no download is broken off.
    assert begin + b"".join(blob) == read(connected) == DATA
    blob.close()
    with pytest.raises(BackendError) as caught:
        read(make_store(user="gone"))
    assert type(caught.value) is BadReply
    assert ceph.keyring("client.gone").read_text().split()[-1] not in str(caught.value)


def test_user_with_the_rights_of_the_page(
    ceph: Ceph, pool: str, make_store: Callable[..., RBDStore]
) -> None:
    """It reads its pool, and no other."""
    other = ceph.new_pool()
    ceph.put(other, "i", b"of another pool")
    page = (ROOT / "docs" / "rbd.md").read_text()
    (rights,) = re.findall(r"osd '(profile .*) pool=images'", page)
    ceph.new_user("client.one", mon="profile rbd-read-only", osd=f"{rights} pool={pool}")
    store = make_store(user="one", allowed_pools=[other])
    assert read(store) == DATA
    with pytest.raises(BadReply, match="check the capabilities"):
        read(store, ceph.url(other, "i"))
    with pytest.raises(BadReply, match=f"pool {other} of Ceph cluster"):
        store.check()


def test_configuration_of_the_page(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "rbd.md").read_text()
    (text,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    (tmp_path / "imageapi.conf").write_text(textwrap.dedent(text))
    imageapi.ImageAPI(imageapi.load_config([tmp_path / "imageapi.conf"])).close()


# Processes.

FORK = """\
import os, sys
from imageapi.backends.rbd.store import RBDStore
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable
from imageapi.testing.suite import build

_, ceph_conf, user, pool = sys.argv
store = build(RBDStore, ceph_conf=ceph_conf, user=user, pool=pool)
whole = b"".join(store.open(store.locate("i"), caller=ANONYMOUS))
opened = store.open(store.locate("i"), caller=ANONYMOUS)
begin = next(opened)
child = os.fork()
if child == 0:
    # The parent's connection cannot work here, and closing it would wait for ever.
    try:
        next(opened)
    except BackendUnavailable:
        opened.close()
        del opened
        assert b"".join(store.open(store.locate("i"), caller=ANONYMOUS)) == whole
        store.close()
        sys.exit(0)
    sys.exit("the child has read from the parent's connection")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert begin + b"".join(opened) == whole
print(len(whole))
"""


def test_connection_before_a_fork(ceph: Ceph, pool: str) -> None:
    """Parent and child each use a connection of their own, and both end."""
    command = [sys.executable, "-c", FORK, str(ceph.config), USER, pool]
    ended = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (0, b"%d\n" % len(DATA)), ended.stderr.decode()


def test_close_while_data_is_read(make_store: Callable[..., RBDStore]) -> None:
    """The connection is shut down after its last image is closed."""
    store = make_store()
    blob = store.open(store.locate("i"), caller=ANONYMOUS)
    first = next(blob)
    store.close()
    assert first + b"".join(blob) == DATA
    blob.close()
    assert read(store) == DATA


def test_missing_image(make_store: Callable[..., RBDStore]) -> None:
    with pytest.raises(DataNotFound, match="no such image or snapshot"):
        read(make_store(), "rbd://nothing")
