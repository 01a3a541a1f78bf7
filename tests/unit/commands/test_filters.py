# SPDX-License-Identifier: Apache-2.0
import argparse
from datetime import datetime

import pytest
from oslo_config import cfg

from imageapi.backends.base import RegistryBackend
from imageapi.commands import filters
from imageapi.config.plugins import Loaded
from imageapi.errors import ConfigurationError
from imageapi.testing.fakes import MemoryRegistry


def choice_from(*words: str) -> filters.Choice:
    """What the arguments choose, for a command that has all of them."""
    parser = argparse.ArgumentParser(prog="list")
    filters.add_pages(parser)
    filters.add_filters(parser, "")
    return filters.choice_of(parser.parse_args(words), parser)


def test_nothing_given_is_every_image() -> None:
    query, marker, limit, given = choice_from()
    assert (marker, limit, given) == (None, None, ())
    assert (query.all_projects, query.shows_deleted, query.is_public) == (True, False, None)
    assert (query.sort_key, query.descending) == ("created_at", True)


def test_every_argument() -> None:
    words = "--name=n --status in:active,queued --container-format bare --disk-format eq:raw"
    words += " --min-ram 1 --min-disk 2 --size-min 3 --size-max 4 --protected true"
    words += " --is-public false --changes-since 2010-01-01T00:00:00Z --property k=v=w"
    words += " --sort-key size --sort-dir asc --limit 5 --marker m"
    query, marker, limit, given = choice_from(*words.split())
    assert query.texts == {
        "name": {"n"},
        "status": {"active", "queued"},
        "container_format": {"bare"},
        "disk_format": {"raw"},
    }
    assert query.numbers == {"min_ram": 1, "min_disk": 2}
    assert (query.size_min, query.size_max, query.protected) == (3, 4, True)
    assert (query.is_public, query.changed_after) == (False, datetime(2010, 1, 1))
    assert query.properties == {"k": "v=w"}
    assert (query.sort_key, query.descending, query.limit) == ("size", False, 5)
    assert (query.all_projects, query.shows_deleted) == (True, True)
    assert (marker, limit, len(given)) == ("m", 5, 16)


@pytest.mark.parametrize("text", ["a&b;d", "50%", "a+b", "ü b", "a:b", "", "#?"])
def test_texts_are_taken_literally(text: str) -> None:
    query = choice_from("--name", text, "--property", f"{text}k={text}").query
    assert query.texts == {"name": {text}}
    assert query.properties == {f"{text}k": text}


def test_wrong_value_names_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        choice_from("--size-max", "many")
    told = "list: error: argument --size-max: must be a whole number, 0 or more, not 'many'\n"
    assert capsys.readouterr().err.endswith(told)


def test_registry_that_cannot_list_is_refused_with_filters_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend: RegistryBackend = MemoryRegistry(cfg.ConfigOpts(), "")
    registry = Loaded("registry", "n", "d", "", "", backend)
    filters.refuse_choice(registry, ("--name", "--limit"))
    monkeypatch.setattr(MemoryRegistry, "can_list", False)
    filters.refuse_choice(registry, ())
    with pytest.raises(ConfigurationError) as refused:
        filters.refuse_choice(registry, ("--name", "--limit"))
    problem = "registry 'n' (driver 'd') cannot filter or sort its images: leave out"
    assert list(refused.value.problems) == [f"{problem} --name, --limit"]
