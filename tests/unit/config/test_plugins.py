# SPDX-License-Identifier: Apache-2.0
import os
import re
from pathlib import Path

import pytest
from oslo_config import cfg

import imageapi
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.config import plugins
from imageapi.errors import ConfigurationError
from imageapi.policy.rules import RulesPolicy
from tests.configuration import load, problems_of
from tests.unit.config.installed import origin


def test_defaults() -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    backends = plugins.load(conf)
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
        r"\[imageapi\] registry: no installed .* 'flie' \(did you mean 'file'\?\); available: file",
        r"\[imageapi\] stores: names 'file' twice",
        r"\[imageapi\] stores: no installed distribution provides a store named 'swfit'",
        r"\[imageapi_policy_rules\] policy_file: file 'absent.yaml' not found",
        r"\[imageapi\] public_endpoint: must be a URL such as",
        r"\[imageapi\] verify_checksums: .* \(did you mean 'verify_checksum'\?\) \(in .*conf\)",
        r"\[imageapi_store_file\] directroy: .* \(did you mean 'directory'\?\)",
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
        ("stores = file:", r"'file:' must be NAME or NAME:DRIVER"),
        ("stores = :file", r"':file' must be NAME or NAME:DRIVER"),
        ("stores = a b", r"'a b' must be NAME or NAME:DRIVER"),
        ("public_endpoint = ftp://x", "public_endpoint"),
        ("public_endpoint = http://", "public_endpoint"),
        ("public_endpoint = http://u:p@x", "public_endpoint"),
        ("public_endpoint = http://x?y", "public_endpoint"),
        ("public_endpoint = http://[x", "public_endpoint"),
        ("public_endpoint = http://x:y", "public_endpoint"),
        ("public_endpoint = http://x:99999", "public_endpoint"),
        ("public_endpoint = http://x/a b", "public_endpoint"),
        ("chunk_size = $chunk_size", "chunk_size: has a \\$ reference"),
    ],
)
def test_wrong_values(tmp_path: Path, line: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, f"[imageapi]\n{line}\n")
    assert re.search(problem, found)


@pytest.mark.parametrize("value", ["v1pass$ord", "$auth_type"])
@pytest.mark.parametrize("shared", ["", "auth_section = cloud\n[cloud]\n"])
def test_dollar_in_an_option_that_others_depend_on(
    tmp_path: Path, value: str, shared: str, caplog: pytest.LogCaptureFixture
) -> None:
    section = f"[imageapi_store_swift]\ncontainer = c\n{shared}auth_type = {value}\n"
    (found,) = problems_of(tmp_path, f"[imageapi]\nstores = swift\n{section}")
    assert "write $$ for a $" in found
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("option", ["connect_timeout", "read_timeout"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e300", "86401"])
def test_seconds_that_no_system_can_wait(tmp_path: Path, option: str, value: str) -> None:
    text = f"[imageapi]\nstores = http\n[imageapi_store_http]\n{option} = {value}\n"
    (found,) = problems_of(tmp_path, text)
    assert found.startswith(f"[imageapi_store_http] {option}: ")


NOT_MADE = "cannot be created: ZeroDivisionError; see the traceback in the log"


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("demanding", "endpoint: must be set"),
        ("clashing", "twice: its backend defines this option twice: remove one"),
        ("repeating", "two_words: its backend defines this option twice: remove one"),
        ("buggy", f"'buggy' {NOT_MADE}"),
        ("buggyoptions", f"'buggyoptions' {NOT_MADE}"),
        ("leaving", "'leaving' cannot be created: SystemExit; see the traceback in the log"),
        (
            "late",
            "'late' cannot be created: ModuleNotFoundError; pip install 'acme-images[client]'",
        ),
    ],
)
def test_sections_of_plugins_that_are_refused(tmp_path: Path, name: str, cause: str) -> None:
    (found,) = problems_of(tmp_path, f"[imageapi]\nstores = file, one:{name}\n")
    assert found == f"[imageapi_store_one] {cause} ({origin(name)})"


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("store", ["zzz", "client", "twice", "abstract"])
def test_section_of_what_is_refused_is_no_second_problem(
    tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    problems_of(tmp_path, f"[imageapi]\nstores = {store}\n[imageapi_store_{store}]\nx = y\n")
    assert "is not used" not in caplog.text


@pytest.mark.usefixtures("site")
def test_all_that_a_plugin_finds_wrong(tmp_path: Path) -> None:
    text = "[imageapi]\nstores = choosy\n[imageapi_store_choosy]\nendpoint = 5\n"
    of_choosy = origin("choosy")
    first = f"endpoint: cannot be a number (in {tmp_path / 'imageapi.conf'}; {of_choosy})"
    assert problems_of(tmp_path, text) == [
        f"[imageapi_store_choosy] {first}",
        f"[imageapi_store_choosy] one of two is too many ({of_choosy})",
    ]


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(("name", "is_bug"), [("buggy", True), ("late", False)])
def test_bug_of_a_plugin_keeps_its_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, is_bug: bool
) -> None:
    """A missing extra is no bug."""
    problems_of(tmp_path, f"[imageapi]\nstores = {name}\n")
    assert ("Traceback" in caplog.text) is is_bug
    assert ("ZeroDivisionError" in caplog.text) is is_bug


@pytest.mark.usefixtures("site")
def test_plugin_of_which_there_are_two_instances(tmp_path: Path) -> None:
    backends = load(tmp_path, "[imageapi]\nstores = one:good, two:good, good\n")
    assert [(store.name, store.driver, store.distribution) for store in backends.stores] == [
        ("one", "good", "acme-images 1.5"),
        ("two", "good", "acme-images 1.5"),
        ("good", "good", "acme-images 1.5"),
    ]
    assert len({store.backend for store in backends.stores}) == 3


def test_wrong_value_of_the_core_hides_no_problem_of_a_backend(tmp_path: Path) -> None:
    text = "[imageapi]\nchunk_size = x\n[imageapi_policy_rules]\npolicy_file = absent.yaml\n"
    problems = problems_of(tmp_path, text)
    assert [problem.split(": ")[0] for problem in problems] == [
        "[imageapi] chunk_size",
        "[imageapi_policy_rules] policy_file",
    ]


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


def test_host_goes_on_with_its_own_options(tmp_path: Path) -> None:
    """Its arguments, its sections and its changes of files are none of ours."""
    path = tmp_path / "host.conf"
    path.write_text("[DEFAULT]\ndebug = true\n[host]\nname = a\n[imageapi]\npolicy = visible\n")
    conf = cfg.ConfigOpts()
    conf.register_cli_opt(cfg.IntOpt("workers"))
    conf.register_opt(cfg.StrOpt("name", mutable=True), group="host")
    conf(["--config-file", str(path), "--workers", "3"], project="host")
    backends = plugins.load(conf)
    conf.register_opt(cfg.BoolOpt("debug"))
    assert (conf.workers, conf.debug, conf.host.name) == (3, True, "a")
    assert backends.policy.name == "visible"
    path.write_text(path.read_text().replace("name = a", "name = b"))
    conf.mutate_config_files()
    assert conf.host.name == "b"
    assert set(conf) - {"config_file", "config_dir", "config_source", "shell_completion"} == {
        *("workers", "debug", "host"),
        *("imageapi", "imageapi_registry_file", "imageapi_store_file", "imageapi_cache"),
    }


def test_host_that_shares_its_file_with_serve(tmp_path: Path) -> None:
    """The section of serve is not registered; its values are serve's, but a name can be wrong."""
    path = tmp_path / "shared.conf"
    path.write_text("[imageapi_serve]\nworkers = many\n")
    conf = imageapi.load_config([path])
    imageapi.ImageAPI(conf).close()
    assert "imageapi_serve" not in conf
    path.write_text("[imageapi_serve]\nwokers = 2\n")
    with pytest.raises(ConfigurationError) as caught:
        imageapi.ImageAPI(imageapi.load_config([path]))
    told = "[imageapi_serve] wokers: there is no such option (did you mean 'workers'?)"
    assert list(caught.value.problems) == [f"{told} (in {path})"]


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
    assert "registry 'file': close() failed" in caplog.text


FOLDERS = """
[imageapi]
registry = records:file
stores = memory, first:file, data:file
policy = visible
[imageapi_registry_records]
directory = {registry}
[imageapi_store_first]
directory = {folder}/first
[imageapi_store_data]
directory = {store}
"""


@pytest.mark.parametrize(
    ("registry", "store", "is_refused"),
    [
        ("registry", "images", False),
        ("images-of-another-name", "images", False),
        ("images", "images", True),
        ("images/", "images", True),
        ("images/registry", "images", True),
        ("images/a/../b/c", "images", True),
        ("registry/../images/x", "images", True),
        ("link", "images", True),
        ("link/deeper", "images", True),
        ("images/registry", "link-to-images", True),
        ("images/out", "images", False),
        ("registry", "registry/images", False),
        ("registry", "/", True),
    ],
)
def test_records_that_a_store_could_read_are_refused(
    tmp_path: Path, registry: str, store: str, is_refused: bool
) -> None:
    """They hold the locations, and these may hold passwords."""
    (tmp_path / "images" / "real").mkdir(parents=True)
    (tmp_path / "registry").mkdir()
    (tmp_path / "link").symlink_to("images/real")
    (tmp_path / "link-to-images").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "out").symlink_to(tmp_path / "registry")
    text = FOLDERS.format(folder=tmp_path, registry=tmp_path / registry, store=tmp_path / store)
    if not is_refused:
        load(tmp_path, text).close()
        return
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("[imageapi_store_data] directory: ")
    assert "[imageapi_registry_records]" in problem
    assert os.path.abspath(tmp_path / registry) in problem


def test_each_store_that_could_read_the_records_is_named(tmp_path: Path) -> None:
    text = FOLDERS.format(folder=tmp_path, registry=f"{tmp_path}/first", store=tmp_path)
    problems = problems_of(tmp_path, text)
    assert [problem.partition(" ")[0] for problem in problems] == [
        "[imageapi_store_first]",
        "[imageapi_store_data]",
    ]
