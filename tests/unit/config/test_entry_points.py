# SPDX-License-Identifier: Apache-2.0
import itertools
import sys
from pathlib import Path

import pytest

from tests.configuration import load, problems_of
from tests.unit.config.installed import MODULES, TARGETS, install, origin

NO_CLASS = "is not a class derived from imageapi.backends.base.StoreBackend"
NO_SCHEMES = "must define schemes: a frozenset of the URL schemes that it opens, in lower case"
NOT_FOUND = "cannot be imported: ModuleNotFoundError: No module named"


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("absent", f"{NOT_FOUND} 'acme_absent'"),
        (
            "nothing",
            "cannot be imported: AttributeError: module 'acme_good' has no attribute 'Nothing'",
        ),
        ("asserts", "cannot be imported: AssertionError: a check at import"),
        ("leaves", "cannot be imported: SystemExit: 3"),
        ("own", f"{NOT_FOUND} 'acme_own.typo'; 'acme_own' is not a package"),
        ("client", f"{NOT_FOUND} 'acme_client'; pip install 'acme-images[client]'"),
        ("other", f"{NOT_FOUND} 'acme_client'; pip install 'acme-images[other-extra]'"),
        ("extraless", f"{NOT_FOUND} 'acme_client'"),
        ("text", NO_CLASS),
        ("function", NO_CLASS),
        ("registry", NO_CLASS),
        ("abstract", "does not define __init__, check, locate, open"),
        (
            "later",
            (
                "needs version 2 of the backend interface, but this imageapi has version 1:"
                " upgrade imageapi"
            ),
        ),
        ("textversion", "must define api_version as a whole number such as 1, not '1'"),
        ("one", NO_SCHEMES),
        ("loud", NO_SCHEMES),
        ("none", NO_SCHEMES),
    ],
)
def test_plugins_that_are_refused(tmp_path: Path, name: str, cause: str) -> None:
    (found,) = problems_of(tmp_path, f"[imageapi]\nstores = file, {name}\n")
    about = f"in {tmp_path / 'imageapi.conf'}; {origin(name)}"
    assert found == f"[imageapi] stores: {name!r} {cause} ({about})"


@pytest.mark.usefixtures("site")
def test_error_of_syntax_keeps_its_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (found,) = problems_of(tmp_path, "[imageapi]\nstores = file, syntax\n")
    assert "'syntax' cannot be imported: SyntaxError: " in found
    assert "Traceback" in caplog.text
    assert "SyntaxError" in caplog.text


@pytest.mark.usefixtures("site")
def test_missing_extra_is_logged_as_no_bug(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    problems_of(tmp_path, "[imageapi]\nstores = client\n")
    assert caplog.messages == []


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
def test_two_distributions_with_one_name(tmp_path: Path) -> None:
    (found,) = problems_of(tmp_path, "[imageapi]\nstores = twice\n")
    both = [origin("twice"), origin("twice", "other-images")]
    told = "[imageapi] stores: several distributions provide a store named 'twice': "
    file = f"in {tmp_path / 'imageapi.conf'}"
    assert found in [
        f"{told}{one} and {other}; uninstall all but one, or rename its entry point ({file})"
        for one, other in itertools.permutations(both)
    ]


@pytest.mark.usefixtures("site")
def test_only_what_is_named_is_loaded(tmp_path: Path) -> None:
    load(tmp_path, "[imageapi]\nstores = file, memory\n").close()
    assert not set(MODULES) & set(sys.modules)


def test_plugin_that_was_changed_just_now(tmp_path: Path, site: Path) -> None:
    """stevedore's own search remembers, by coarse times, what was installed."""
    load(tmp_path, "[imageapi]\nstores = good\n").close()
    install(site, "acme-images", {"new": TARGETS["good"]})
    (store,) = load(tmp_path, "[imageapi]\nstores = new\n").stores
    assert store.driver == "new"
