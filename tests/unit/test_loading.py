# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from oslo_config import cfg

import imageapi
from imageapi import loading
from imageapi.backends.base import StoreBackend
from imageapi.backends.file import FileRegistry, FileStore
from imageapi.errors import ConfigurationError
from imageapi.policy.rules import RulesPolicy
from imageapi.testing.fakes import MemoryStore


def problems_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "imageapi.conf"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        loading.load(imageapi.load_config([str(path)]))
    return list(caught.value.problems)


def load(tmp_path: Path, text: str) -> loading.Backends:
    path = tmp_path / "imageapi.conf"
    path.write_text(text)
    return loading.load(imageapi.load_config([str(path)]))


def test_defaults() -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    backends = loading.load(conf)
    assert [(loaded.kind, loaded.name, loaded.driver) for loaded in backends] == [
        ("registry", "file", "file"),
        ("store", "file", "file"),
        ("policy", "rules", "rules"),
    ]
    assert str(backends.registry) == "registry 'file'"
    assert backends.registry.distribution.startswith("imageapi ")


def test_several_instances_of_a_driver(tmp_path: Path) -> None:
    backends = load(
        tmp_path,
        """
[imageapi]
registry = records:file
stores = fast:file, slow:file
policy = visible
[imageapi_registry_records]
directory = /records
[imageapi_store_fast]
directory = /fast
[imageapi_store_slow]
directory = /slow
""",
    )
    directories = []
    for backend in (loaded.backend for loaded in backends if loaded.kind != "policy"):
        assert isinstance(backend, FileRegistry | FileStore)
        directories.append(backend.directory)
    assert directories == ["/records", "/fast", "/slow"]


def test_all_problems_at_once(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path,
        """
[imageapi]
registry = flie
stores = file, archive:swfit, file
policy = rules
public_endpoint = images.example.com
verify_checksums = always
[imageapi_store_file]
directroy = /x
[imageapi_policy_rules]
policy_file = absent.yaml
""",
    )
    expected = [
        r"\[imageapi\] registry: no installed .* 'flie'; did you mean 'file'\?; there are: file",
        r"\[imageapi\] stores: names 'file' twice",
        r"\[imageapi\] stores: no installed distribution brings a store named 'swfit'",
        r"\[imageapi_policy_rules\] policy_file: there is no file 'absent.yaml'",
        r"\[imageapi\] public_endpoint: must be a URL such as",
        r"\[imageapi\] verify_checksums: .*; did you mean 'verify_checksum'\? \(in .*conf\)",
        r"\[imageapi_store_file\] directroy: .*; did you mean 'directory'\?",
    ]
    assert len(problems) == len(expected)
    for pattern, problem in zip(expected, problems, strict=True):
        assert re.search(pattern, problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("chunk_size = 0", r"\[imageapi\] chunk_size: .*0"),
        ("chunk_size = 1 MiB", r"\[imageapi\] chunk_size: .*1 MiB"),
        ("verify_checksum = sometimes", r"\[imageapi\] verify_checksum: .*sometimes"),
        ("resume_attempts = -1", r"\[imageapi\] resume_attempts"),
        ("stores =", r"\[imageapi\] stores: must name a store"),
        ("registry =", r"\[imageapi\] registry: must name a registry"),
        ("stores = file:", r"'file:' is not NAME or NAME:DRIVER"),
        ("stores = :file", r"':file' is not NAME or NAME:DRIVER"),
        ("stores = a b", r"'a b' is not NAME or NAME:DRIVER"),
        ("public_endpoint = ftp://x", "public_endpoint"),
        ("public_endpoint = http://", "public_endpoint"),
        ("public_endpoint = http://u:p@x", "public_endpoint"),
        ("public_endpoint = http://x?y", "public_endpoint"),
        ("public_endpoint = http://[x", "public_endpoint"),
    ],
)
def test_wrong_values(tmp_path: Path, line: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, f"[imageapi]\n{line}\n")
    assert re.search(problem, found)


class NoStore:
    pass


class Abstract(StoreBackend):
    schemes = frozenset({"x"})


class Demanding(MemoryStore):
    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return [cfg.StrOpt("endpoint", required=True), cfg.IntOpt("pool", deprecated_name="size")]


class Choosy(MemoryStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        raise ConfigurationError(["endpoint: one thing", "token: another"])


class Buggy(MemoryStore):
    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        raise ZeroDivisionError("s3cret")


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points as installed distributions would bring them."""
    from stevedore import _cache, extension

    here = "tests.unit.test_loading"
    values = {
        "absent": "tests.no_such_module:Store",
        "nothing": f"{here}:Nothing",
        "nostore": f"{here}:NoStore",
        "abstract": f"{here}:Abstract",
        "demanding": f"{here}:Demanding",
        "choosy": f"{here}:Choosy",
        "buggy": f"{here}:Buggy",
    }
    found = importlib.metadata.EntryPoints(
        [
            importlib.metadata.EntryPoint(name, value, "imageapi.store")
            for name, value in values.items()
        ]
        + [importlib.metadata.EntryPoint("twice", f"{here}:NoStore", "imageapi.store")] * 2
    )
    real = importlib.metadata.entry_points

    def entry_points(*, group: str) -> importlib.metadata.EntryPoints:
        more = found if group == "imageapi.store" else []
        return importlib.metadata.EntryPoints([*real(group=group), *more])

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    monkeypatch.setattr(
        _cache, "get_group_all", lambda group: list(entry_points(group=group)), raising=True
    )
    monkeypatch.setattr(extension.ExtensionManager, "ENTRY_POINT_CACHE", {})


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent", "absent = tests.no_such_module:Store .* cannot be imported: ModuleNotFound"),
        ("nothing", "cannot be imported: AttributeError"),
        ("nostore", "nostore = tests.unit.test_loading:NoStore is not a StoreBackend"),
        ("abstract", r"\[imageapi_store_abstract\]: .* cannot be made: TypeError"),
        ("demanding", r"\[imageapi_store_demanding\] endpoint: must be set"),
        ("buggy", r"\[imageapi_store_buggy\]: .* cannot be made: ZeroDivisionError"),
        ("twice", "several distributions bring a store named 'twice'"),
    ],
)
def test_plugins_that_are_refused(tmp_path: Path, name: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, f"[imageapi]\nstores = file, {name}\n")
    assert re.search(problem, found)
    assert "s3cret" not in found


@pytest.mark.usefixtures("plugins")
def test_all_that_a_plugin_finds_wrong(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "[imageapi]\nstores = choosy\n") == [
        "[imageapi_store_choosy] endpoint: one thing",
        "[imageapi_store_choosy] token: another",
    ]


@pytest.mark.usefixtures("plugins")
def test_bug_of_a_plugin_keeps_its_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    problems_of(tmp_path, "[imageapi]\nstores = buggy\n")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.usefixtures("plugins")
def test_deprecated_and_dashed_names_of_options_are_known(tmp_path: Path) -> None:
    text = "[imageapi]\nstores = demanding\n[imageapi_store_demanding]\nendpoint = x\nsize = 5\n"
    assert len(load(tmp_path, text).stores) == 1


def test_section_of_a_backend_that_is_not_named_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(tmp_path, "[imageapi]\n[imageapi_store_flie]\ndirectory = x\n[other]\nx = y\n")
    (message,) = caplog.messages
    assert message.startswith("[imageapi_store_flie] in ")
    assert message.endswith("is not used; did you mean 'imageapi_store_file'?")


def test_misspelt_section_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, "[imagepi]\n[imagepi_policy_rules]\npolicy_file = x\n[oslo_policy]\n")
    assert [message.split(" in ")[0] for message in caplog.messages] == [
        "[imagepi]",
        "[imagepi_policy_rules]",
    ]


def test_file_that_cannot_be_read_again_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A host may have left the folder that its file was named in, as daemons do."""
    (tmp_path / "host.conf").write_text("[imageapi]\npolicy = visible\n")
    monkeypatch.chdir(tmp_path)
    conf = imageapi.load_config(["host.conf"])
    monkeypatch.chdir("/")
    assert loading.load(conf).policy.name == "visible"
    (message,) = caplog.messages
    assert message.startswith("host.conf cannot be read again")


def test_wrong_value_of_the_core_hides_no_other_problem(tmp_path: Path) -> None:
    text = "[imageapi]\nchunk_size = x\nstores = file, nothing\n[imageapi_store_file]\ndir = y\n"
    problems = problems_of(tmp_path, text)
    assert [problem.split(": ")[0] for problem in problems] == [
        "[imageapi] chunk_size",
        "[imageapi] stores",
        "[imageapi_store_file] dir",
    ]
    assert "LocationInfo" not in problems[0]
    assert f"in {tmp_path / 'imageapi.conf'}" in problems[0]


def test_loading_twice_from_one_conf() -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    first, second = imageapi.ImageAPI(conf), imageapi.ImageAPI(conf)
    assert first.backends.registry.backend is not second.backends.registry.backend


def test_conf_that_was_not_called_is_told() -> None:
    conf = cfg.ConfigOpts()
    conf.register_opts(RulesPolicy.options(), group="imageapi_policy_rules")
    conf.set_override("policy_file", "rules.yaml", group="imageapi_policy_rules")
    with pytest.raises(ConfigurationError, match=r"call conf\(\[\]\) first"):
        imageapi.ImageAPI(conf)


def test_global_conf_is_not_touched() -> None:
    test_defaults()
    assert "imageapi" not in cfg.CONF


def test_close_goes_on_when_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backends = load(tmp_path, "[imageapi]\nstores = memory, file\n")
    closed = []

    def fail() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(backends.registry.backend, "close", fail)
    monkeypatch.setattr(backends.stores[1].backend, "close", lambda: closed.append(1))
    backends.close()
    assert closed == [1]
    assert "registry 'file': closing it failed" in caplog.text
