# SPDX-License-Identifier: Apache-2.0
import json
import shlex
from collections.abc import Generator

import pytest

from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.commands import list as list_
from imageapi.commands import listed
from imageapi.errors import BackendUnavailable
from imageapi.image import Image
from imageapi.testing.fakes import MemoryRegistry
from tests.deployment import Deployment
from tests.unit.commands.conftest import Run

HEADER = f"{'ID':36}  {'STATUS':11}  VISIBILITY  {'SIZE':>13}  NAME"


@pytest.fixture
def names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry knows its ids, and cannot list."""
    monkeypatch.setattr(FileRegistry, "can_list", False)


@pytest.fixture
def four_images(deployment: Deployment, run: Run, listing: None) -> Run:
    """Three images, and a deleted one."""
    deployment.add("a", b"data", name="ü b", created_at="2010-01-01 00:00:00", min_ram=1)
    deployment.add(
        "b", b"other data", is_public=False, created_at="2010-01-02 00:00:00", properties={"k": "v"}
    )
    deployment.record("c", status="queued", created_at="2010-01-03 00:00:00")
    deployment.record(
        "d", status="deleted", created_at="2010-01-04 00:00:00", updated_at="2010-01-05 00:00:00"
    )
    return run


def ids(out: str) -> str:
    return " ".join(line.split()[0] for line in out.splitlines()[1:])


@pytest.mark.parametrize("can_list", [False, True])
def test_lines(
    deployment: Deployment, run: Run, request: pytest.FixtureRequest, can_list: bool
) -> None:
    request.getfixturevalue("listing" if can_list else "names_only")
    deployment.add("b", b"data", name="two\x1b[2J", created_at="2010-01-01 00:00:00")
    created = "2010-01-02 00:00:00"
    deployment.record("a", is_public=False, status="queued", created_at=created)
    (deployment.registry / "notes.txt").write_text("x")
    (deployment.registry / "a%62.json").write_text("{}")  # not how an id is encoded
    status, out, err = run("list")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        HEADER,
        f"{'a':36}  queued       private                 -  -",
        f"{'b':36}  active       public                  4  two [2J",
    ]


def test_columns_are_as_wide_as_their_widest_cell(
    deployment: Deployment, run: Run, listing: None
) -> None:
    deployment.record("a", size=10**15)
    deployment.record("x" * 50)
    lines = run("list", "--sort-key", "id", "--sort-dir", "asc")[1].splitlines()
    assert lines == [
        f"{'ID':50}  {'STATUS':11}  VISIBILITY  {'SIZE':>16}  NAME",
        f"{'a':50}  {'active':11}  public      {10**15}  -",
        f"{'x' * 50}  {'active':11}  public      {'-':>16}  -",
    ]


def test_long_list_is_printed_in_parts(
    four_images: Run, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_, "_LINES", 2)
    deployment.record("e" * 40)
    lines = four_images("list")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "c", "b", "a", "e" * 40]
    assert [line.index("  active") for line in lines[2:]] == [36, 40, 40]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", "c b a"),
        ("--name 'ü b'", "a"),
        ("--name in:x,'ü b'", "a"),
        ("--status queued", "c"),
        ("--status in:queued,active", "c b a"),
        ("--disk-format raw", ""),
        ("--container-format bare", ""),
        ("--min-ram 1", "a"),
        ("--min-disk 0", "c b a"),
        ("--size-min 5", "b"),
        ("--size-max 5", "a"),
        ("--protected false", "c b a"),
        ("--protected true", ""),
        ("--is-public true", "c a"),
        ("--is-public false", "b"),
        ("--property k=v", "b"),
        ("--property k=w", ""),
        ("--property k=v --property x=y", ""),
        ("--changes-since 2010-01-01", "d"),
        ("--deleted", "d c b a"),
        ("--deleted --status deleted", "d"),
        ("--sort-key size", "b a c"),
        ("--sort-key id --sort-dir asc", "a b c"),
        ("--sort-dir asc", "a b c"),
        ("--limit 2", "c b"),
        ("--limit 0", ""),
        ("--limit 1 --marker c", "b"),
        ("--marker b", "a"),
        ("--marker d", "c b a"),
    ],
)
def test_filters_order_and_pages(four_images: Run, words: str, found: str) -> None:
    status, out, err = four_images("list", *shlex.split(words))
    assert (status, ids(out), err) == (0, found, "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--min-ram x", "argument --min-ram: must be a whole number, 0 or more, not 'x'"),
        ("--size-min -1", "argument --size-min: must be a whole number, 0 or more, not '-1'\n"),
        ("--is-public maybe", "argument --is-public: must be true, false or none, not 'maybe'"),
        ("--changes-since now", "argument --changes-since: must be a time in ISO 8601"),
        ("--sort-key x", "argument --sort-key: must be one of name, status,"),
        ("--sort-dir up", "argument --sort-dir: must be one of asc, desc, not 'up'"),
        ("--limit x", "argument --limit: must be a whole number, 0 or more, not 'x'"),
        ('--name in:"', "argument --name: must be in: and values between commas"),
        ("--property k", "argument --property: 'k' is not K=V"),
        ("--name \udcff", "argument --name: '\\udcff' is not UTF-8"),
    ],
)
def test_wrong_values(run: Run, words: str, told: str) -> None:
    status, out, err = run("list", *words.split())
    assert (status, out) == (2, "")
    assert told in err


def test_absent_marker(four_images: Run) -> None:
    assert four_images("list", "--marker", "x") == (1, "", "imageapi: --marker x: no record\n")


def test_json(deployment: Deployment, run: Run) -> None:
    deployment.add("ü b", b"data", members=["p"], location="file://user:s3cret@h/x")
    status, out, _ = run("list", "--json")
    (record,) = map(json.loads, out.splitlines())
    assert (status, record["id"], record["members"]) == (0, "ü b", ["p"])
    assert "s3cret" not in out


@pytest.mark.parametrize("can_list", [False, True])
def test_malformed_record(
    deployment: Deployment, run: Run, request: pytest.FixtureRequest, can_list: bool
) -> None:
    request.getfixturevalue("listing" if can_list else "names_only")
    deployment.record("a", status="actve")
    deployment.record("b")
    status, out, err = run("list")
    assert (status, out.splitlines()[1][:2]) == (1, "b ")
    assert err.startswith(f"imageapi: image a: {deployment.record_path('a')}: status must be one")


def test_malformed_record_is_named_whatever_the_filters(
    deployment: Deployment, run: Run, listing: None
) -> None:
    """It could be one of the images that are looked for."""
    deployment.record("a", status="actve")
    deployment.record("b")
    status, out, err = run("list", "--status", "queued")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("imageapi: image a: ")


def test_page_reads_no_other_records(four_images: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(listed, "known_ids")
    assert four_images("list", "--limit", "9")[0] == four_images("list", "--marker", "b")[0] == 0


def test_record_that_vanishes(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch, names_only: None
) -> None:
    monkeypatch.setattr(FileRegistry, "image_ids", lambda _: iter(["absent"]))
    assert run("list") == (0, "", "")


def test_folder_that_is_missing(deployment: Deployment, run: Run) -> None:
    deployment.registry.rmdir()
    status, out, err = run("list")
    assert (status, out) == (1, "")
    assert err == f"imageapi: registry 'file': {deployment.registry}: No such file or directory\n"


def test_list_that_breaks_off(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch, listing: None
) -> None:
    """What came before is printed."""
    deployment.record("a")

    def broken(
        self: FileRegistry, query: ListQuery, caller: Caller
    ) -> Generator[Image, None, None]:
        yield self.get("a", caller)
        raise BackendUnavailable("broken off")

    monkeypatch.setattr(FileRegistry, "list", broken)
    status, out, err = run("list")
    assert (status, ids(out), err) == (1, "a", "imageapi: registry 'file': broken off\n")


def test_registry_that_cannot_filter(deployment: Deployment, run: Run, names_only: None) -> None:
    told = "imageapi: registry 'file' (driver 'file') cannot filter or sort its images: leave out "
    told += "--name, --limit, --property, --deleted\n"
    words = ("--property", "a=b", "--limit", "5", "--name", "n", "--deleted")
    assert run("list", *words) == (1, "", told)


def test_registry_that_cannot_list(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryRegistry, "can_list", False)
    deployment.configure(core="registry = memory")
    told = "imageapi: registry 'memory' (driver 'memory') cannot list its images\n"
    assert run("list") == (1, "", told)


def test_registry_without_ids(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(
        self: MemoryRegistry, query: ListQuery, caller: Caller
    ) -> Generator[Image, None, None]:
        assert query.all_projects
        yield Image(id="m", status="active")

    monkeypatch.setattr(MemoryRegistry, "list", found)
    deployment.configure(core="registry = memory")
    status, out, err = run("list")
    assert (status, ids(out), err) == (0, "m", "")


def test_token_is_the_environments(
    deployment: Deployment, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a registry with ``auth = caller``."""
    tokens = []

    def found(
        self: MemoryRegistry, query: ListQuery, caller: Caller
    ) -> Generator[Image, None, None]:
        tokens.append(caller.token)
        yield from ()

    monkeypatch.setattr(MemoryRegistry, "list", found)
    monkeypatch.setenv("OS_TOKEN", "t")
    deployment.configure(core="registry = memory")
    assert run("list") == (0, "", "")
    assert tokens == ["t"]


@pytest.mark.parametrize(
    ("decides", "token", "warns"), [(False, "t", False), (True, "", False), (True, "t", True)]
)
def test_empty_list_of_an_upstream(
    deployment: Deployment,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    decides: bool,
    token: str,
    warns: bool,
) -> None:
    monkeypatch.setattr(MemoryRegistry, "decides_visibility", decides)
    monkeypatch.setenv("OS_TOKEN", token)
    deployment.configure(core="registry = memory")
    told = (
        "imageapi: warning: registry 'memory' lists no image; it may refuse the token in OS_TOKEN\n"
    )
    assert run("list") == (0, "", told if warns else "")
