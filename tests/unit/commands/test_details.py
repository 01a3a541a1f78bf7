# SPDX-License-Identifier: Apache-2.0
import argparse

import pytest

from imageapi.commands.details import add_arguments, described, fields_of, warn_of_hidden
from imageapi.image import Image, Location

ALL = (
    "--name n --disk-format raw --container-format bare --min-disk 5 --min-ram 256 --private"
    " --owner p0 --protected --member p1 --member p2 --property a=x=y"
)


def parsed_details(words: str, *, visibility_is_required: bool = False) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser, visibility_is_required=visibility_is_required)
    return parser.parse_args(words.split())


def test_all_fields() -> None:
    options = parsed_details(ALL)
    assert fields_of(options) == {
        "name": "n",
        "disk_format": "raw",
        "container_format": "bare",
        "min_disk": 5,
        "min_ram": 256,
        "is_public": False,
        "owner": "p0",
        "protected": True,
    }
    assert (options.member, options.property) == (["p1", "p2"], [("a", "x=y")])


def test_what_is_not_given_is_left_out() -> None:
    assert fields_of(parsed_details("")) == {}


def test_zero_and_false_are_values() -> None:
    words = "--no-protected --min-ram 0 --min-disk 0 --public"
    wanted = {"protected": False, "min_ram": 0, "min_disk": 0, "is_public": True}
    assert fields_of(parsed_details(words)) == wanted


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "one of the arguments --public --private is required"),
        ("--public --private", "not allowed with argument"),
        ("--public --disk-format floppy", "--disk-format"),
        ("--public --container-format box", "--container-format"),
        ("--public --min-ram -1", "--min-ram"),
        ("--public --property novalue", "--property"),
    ],
)
def test_arguments_that_are_refused(
    capsys: pytest.CaptureFixture[str], words: str, told: str
) -> None:
    with pytest.raises(SystemExit):
        parsed_details(words, visibility_is_required=True)
    assert told in capsys.readouterr().err


def test_locations_are_not_described() -> None:
    image = Image(
        id="i", status="active", name="n", locations=(Location("swift://user:s3cret@host/i"),)
    )
    fields = described(image)
    assert fields["name"] == "n"
    assert "s3cret" not in str(fields)


@pytest.mark.parametrize(
    ("image", "is_hidden"),
    [
        (Image(id="i", status="active"), True),
        (Image(id="i", status="active", is_public=True), False),
        (Image(id="i", status="active", owner="p0"), False),
        (Image(id="i", status="active", members=frozenset({"p1"})), False),
    ],
)
def test_operator_is_warned_of_an_image_that_only_admins_see(
    capsys: pytest.CaptureFixture[str], image: Image, is_hidden: bool
) -> None:
    warn_of_hidden(image)
    told = "imageapi: warning: only admins can see it: a private image needs --owner or --member\n"
    assert capsys.readouterr().err == (told if is_hidden else "")
