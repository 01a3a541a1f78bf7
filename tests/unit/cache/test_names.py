# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.cache.names import hash_in, name_of, size_in

SHA = "ab" * 64


def test_a_strong_hash_alone_names_data() -> None:
    name = name_of("sha512", SHA, 7, "one", "http://one/")
    assert name == f"sha512.{SHA}.7"
    assert name_of("SHA512", SHA, 7, "other", "http://other/") == name
    assert name_of("sha512", SHA, 8, "one", "http://one/") != name


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "unknown"])
def test_a_weak_hash_needs_the_location(algorithm: str) -> None:
    places = [("one", "x"), ("one", "y"), ("other", "x")]
    names = {name_of(algorithm, "ab" * 16, 7, *place) for place in places}
    assert len(names) == 3
    for name in names:
        assert name is not None
        assert size_in(name) == 7


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [("", SHA), ("../x", SHA), ("sha512", "../../etc"), ("sha512", ""), ("sha512", "ABCD" * 8)],
)
def test_what_is_no_hash_names_nothing(algorithm: str, digest: str) -> None:
    assert name_of(algorithm, digest, 7, "one", "x") is None


@pytest.mark.parametrize(
    "name", ["lock", f"sha512.{SHA}.7.part", f"sha512.{SHA}", f"sha512.{SHA}.x", "7", ""]
)
def test_other_files_have_no_size(name: str) -> None:
    assert size_in(name) is None


@pytest.mark.parametrize(("algorithm", "named"), [("sha256", "sha256"), ("MD5", "md5")])
def test_a_name_contains_its_hash(algorithm: str, named: str) -> None:
    name = name_of(algorithm, "ab" * 16, 5, "store", "http://h/i")
    assert name is not None
    assert hash_in(name) == (named, "ab" * 16)
