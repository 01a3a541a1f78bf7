# SPDX-License-Identifier: Apache-2.0
import importlib
import itertools
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from oslo_config import cfg

import imageapi
from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.file.store import FileStore
from imageapi.caller import ANONYMOUS
from imageapi.config import plugins
from imageapi.errors import ConfigurationError
from imageapi.opts import list_opts
from imageapi.policy.rules import RulesPolicy
from tests.configuration import load, problems_of


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


# Modules of a plugin that cannot be imported, and one that can.
MODULES = {
    "acme_good": "from imageapi.testing.fakes import MemoryStore",
    "acme_wants_client": "import acme_client",
    "acme_own": "import acme_own.typo",
    "acme_asserts": "assert False, 'a check at import'",
    "acme_leaves": "raise SystemExit(3)",
    "acme_syntax": "def",
}

WRONG = "tests.unit.wrong_plugins"

NO_CLASS = "is not a class derived from imageapi.backends.base.StoreBackend"
NO_SCHEMES = "must define schemes: a frozenset of the URL schemes that it opens, in lower case"

NOT_MADE = "NAME cannot be created: ZeroDivisionError; see the traceback in the log"

# The name of an entry point, its target, and the reason for which the loader refuses it.
REFUSED = [
    (
        "absent",
        "acme_absent:Store",
        "cannot be imported: ModuleNotFoundError: No module named 'acme_absent'",
    ),
    (
        "nothing",
        "acme_good:Nothing",
        "cannot be imported: AttributeError: module 'acme_good' has no attribute 'Nothing'",
    ),
    (
        "asserts",
        "acme_asserts:Store",
        "cannot be imported: AssertionError: a check at import",
    ),
    ("leaves", "acme_leaves:Store", "cannot be imported: SystemExit: 3"),
    (
        "own",
        "acme_own:Store",
        (
            "cannot be imported: ModuleNotFoundError: No module named 'acme_own.typo';"
            " 'acme_own' is not a package"
        ),
    ),
    (
        "client",
        "acme_wants_client:Store",
        (
            "cannot be imported: ModuleNotFoundError: No module named 'acme_client';"
            " pip install 'acme-images[client]'"
        ),
    ),
    (
        "other",
        "acme_wants_client:Store [Other_Extra]",
        (
            "cannot be imported: ModuleNotFoundError: No module named 'acme_client';"
            " pip install 'acme-images[other-extra]'"
        ),
    ),
    (
        "extraless",
        "acme_wants_client:Store",
        "cannot be imported: ModuleNotFoundError: No module named 'acme_client'",
    ),
    ("text", "acme_good:__name__", NO_CLASS),
    ("function", f"{WRONG}:function", NO_CLASS),
    ("registry", "imageapi.backends.file.registry:FileRegistry", NO_CLASS),
    ("abstract", f"{WRONG}:Abstract", "does not define __init__, check, locate, open"),
    (
        "later",
        f"{WRONG}:Later",
        (
            "needs version 2 of the backend interface, but this imageapi has version 1:"
            " upgrade imageapi"
        ),
    ),
    ("one", f"{WRONG}:OneScheme", NO_SCHEMES),
    ("loud", f"{WRONG}:LoudSchemes", NO_SCHEMES),
    ("none", f"{WRONG}:NoSchemes", NO_SCHEMES),
]

# The same for reasons that concern the backend's section.
REFUSED_SECTIONS = [
    ("demanding", f"{WRONG}:Demanding", "endpoint: must be set"),
    (
        "clashing",
        f"{WRONG}:Clashing",
        "its options clash with those of the application: duplicate option: twice",
    ),
    (
        "buggy",
        f"{WRONG}:Buggy",
        NOT_MADE,
    ),
    (
        "buggyoptions",
        f"{WRONG}:BuggyOptions",
        NOT_MADE,
    ),
    (
        "leaving",
        f"{WRONG}:Leaving",
        "NAME cannot be created: SystemExit; see the traceback in the log",
    ),
    (
        "late",
        f"{WRONG}:Late [client]",
        "NAME cannot be created: ModuleNotFoundError; pip install 'acme-images[client]'",
    ),
]

OTHERS = {
    "choosy": f"{WRONG}:Choosy",
    "good": f"{WRONG}:Good",
    "syntax": "acme_syntax:Store",
    "twice": f"{WRONG}:Good",
}


def install(site: Path, distribution: str, entry_points: Mapping[str, str]) -> None:
    """Write the files by which an installed distribution with these stores is found."""
    info = site / f"{distribution.replace('-', '_')}-1.5.dist-info"
    info.mkdir(exist_ok=True)
    lines = ["Metadata-Version: 2.1", f"Name: {distribution}", "Version: 1.5"]
    (info / "METADATA").write_text(
        "\n".join([*lines, "Provides-Extra: client", "Provides-Extra: other-extra", ""])
    )
    lines = [f"{name} = {target}" for name, target in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[imageapi.store]", *lines]))
    importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the distributions acme-images and other-images are installed."""
    site = tmp_path / "site-packages"
    site.mkdir()
    for module, text in MODULES.items():
        (site / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)
    refused = {name: target for name, target, _ in [*REFUSED, *REFUSED_SECTIONS]}
    install(site, "acme-images", {**refused, **OTHERS})
    install(site, "other-images", {"twice": f"{WRONG}:Good"})
    monkeypatch.syspath_prepend(site)
    return site


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(("name", "target", "cause"), REFUSED)
def test_plugins_that_are_refused(tmp_path: Path, name: str, target: str, cause: str) -> None:
    (found,) = problems_of(tmp_path, f"[imageapi]\nstores = file, {name}\n")
    about = f"in {tmp_path / 'imageapi.conf'}; {origin(name, target)}"
    assert found == f"[imageapi] stores: {name!r} {cause} ({about})"


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(("name", "target", "cause"), REFUSED_SECTIONS)
def test_sections_of_plugins_that_are_refused(
    tmp_path: Path, name: str, target: str, cause: str
) -> None:
    (found,) = problems_of(tmp_path, f"[imageapi]\nstores = file, one:{name}\n")
    cause = cause.replace("NAME", repr(name))
    assert found == f"[imageapi_store_one] {cause} ({origin(name, target)})"


def origin(name: str, target: str, distribution: str = "acme-images") -> str:
    return f"entry point imageapi.store {name} = {target} of {distribution} 1.5"


@pytest.mark.usefixtures("site")
def test_plugin_with_an_error_of_syntax(tmp_path: Path) -> None:
    (found,) = problems_of(tmp_path, "[imageapi]\nstores = file, syntax\n")
    assert "'syntax' cannot be imported: SyntaxError: " in found


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("option", "driver", "hint"),
    [
        ("registry", "good", " (that is the name of a store)"),
        ("stores", "rules", " (that is the name of a policy)"),
        ("stores", "zzz", ""),
    ],
)
def test_name_of_another_kind(tmp_path: Path, option: str, driver: str, hint: str) -> None:
    (found,) = problems_of(tmp_path, f"[imageapi]\n{option} = {driver}\n")
    assert f" named {driver!r}{hint}; available: " in found


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("store", ["zzz", "client", "twice", "abstract"])
def test_section_of_what_is_refused_is_no_second_problem(
    tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    problems_of(tmp_path, f"[imageapi]\nstores = {store}\n[imageapi_store_{store}]\nx = y\n")
    assert "is not used" not in caplog.text


@pytest.mark.usefixtures("site")
def test_two_distributions_with_one_name(tmp_path: Path) -> None:
    (found,) = problems_of(tmp_path, "[imageapi]\nstores = twice\n")
    target = OTHERS["twice"]
    both = [origin("twice", target), origin("twice", target, "other-images")]
    told = "[imageapi] stores: several distributions provide a store named 'twice': "
    file = f"in {tmp_path / 'imageapi.conf'}"
    assert found in [
        f"{told}{one} and {other}; uninstall all but one, or rename its entry point ({file})"
        for one, other in itertools.permutations(both)
    ]


@pytest.mark.usefixtures("site")
def test_all_that_a_plugin_finds_wrong(tmp_path: Path) -> None:
    text = "[imageapi]\nstores = choosy\n[imageapi_store_choosy]\nendpoint = 5\n"
    of_choosy = origin("choosy", OTHERS["choosy"])
    first = f"endpoint: cannot be a number (in {tmp_path / 'imageapi.conf'}; {of_choosy})"
    assert problems_of(tmp_path, text) == [
        f"[imageapi_store_choosy] {first}",
        f"[imageapi_store_choosy] one of two is too many ({of_choosy})",
    ]


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("name", "told"), [("buggy", "ZeroDivisionError"), ("syntax", "SyntaxError")]
)
def test_bug_of_a_plugin_keeps_its_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, told: str
) -> None:
    problems_of(tmp_path, f"[imageapi]\nstores = {name}\n")
    assert "Traceback" in caplog.text
    assert told in caplog.text


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("name", ["client", "late"])
def test_missing_extra_is_no_bug(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    problems_of(tmp_path, f"[imageapi]\nstores = {name}\n")
    assert caplog.messages == []


@pytest.mark.usefixtures("site")
def test_only_what_is_named_is_loaded(tmp_path: Path) -> None:
    load(tmp_path, "[imageapi]\nstores = file, memory\n").close()
    assert not set(MODULES) & set(sys.modules)


@pytest.mark.usefixtures("site")
def test_plugin_of_which_there_are_two_instances(tmp_path: Path) -> None:
    backends = load(tmp_path, "[imageapi]\nstores = one:good, two:good, good\n")
    assert [(store.name, store.driver, store.distribution) for store in backends.stores] == [
        ("one", "good", "acme-images 1.5"),
        ("two", "good", "acme-images 1.5"),
        ("good", "good", "acme-images 1.5"),
    ]
    assert len({store.backend for store in backends.stores}) == 3


def test_plugin_that_was_changed_just_now(tmp_path: Path, site: Path) -> None:
    """stevedore has a cache of installed plugins, which uses coarse file times."""
    load(tmp_path, "[imageapi]\nstores = good\n").close()
    install(site, "acme-images", {"new": f"{WRONG}:Good"})
    (store,) = load(tmp_path, "[imageapi]\nstores = new\n").stores
    assert store.driver == "new"


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


def test_options_that_are_set_in_code(tmp_path: Path) -> None:
    """They are registered twice: from the public list, and by the loader."""
    (tmp_path / "policy.yaml").write_text('"download_image": "!"')
    conf = imageapi.load_config([])
    for section, options in list_opts():
        conf.register_opts(options, group=section)
    conf.set_override("registry", "http", group="imageapi")
    conf.set_override("stores", ["http", "file"], group="imageapi")
    conf.set_override("endpoint", "http://records.example", group="imageapi_registry_http")
    conf.set_override("allowed_urls", ["http://data.example"], group="imageapi_store_http")
    conf.set_override("directory", "/images", group="imageapi_store_file")
    conf.set_override("policy_file", f"{tmp_path}/policy.yaml", group="imageapi_policy_rules")
    backends = plugins.load(conf)
    assert [loaded.driver for loaded in backends] == ["http", "http", "file", "rules"]
    store = backends.stores[1].backend
    assert isinstance(store, FileStore)
    assert store.directory == "/images"
    assert not backends.policy.backend.allows("download_image", ANONYMOUS, {})
    backends.close()


def test_what_is_wrong_in_code_is_told_at_once() -> None:
    conf = imageapi.load_config([])
    conf.register_opts(dict(list_opts())["imageapi"], group="imageapi")
    with pytest.raises(cfg.NoSuchOptError, match="verify_checksums"):
        conf.set_override("verify_checksums", "always", group="imageapi")
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        conf.set_override("chunk_size", 0, group="imageapi")
    conf.set_override("registry", "flie", group="imageapi")
    with pytest.raises(ConfigurationError, match="did you mean 'file'"):
        imageapi.ImageAPI(conf)


def test_host_goes_on_with_its_own_options(tmp_path: Path) -> None:
    """imageapi ignores the host's arguments, sections and changed files."""
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
        *("imageapi", "imageapi_registry_file", "imageapi_store_file"),
    }


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
    """Records contain locations, and locations can contain passwords."""
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
