# SPDX-License-Identifier: Apache-2.0
import pytest

from imageapi.backends.s3.location import S3Location, is_bucket
from imageapi.errors import LocationRefused

SECRET = "wJalr/XUtn+FEMI"


@pytest.mark.parametrize(
    "url",
    [
        "s3://images/key",
        "S3://images/key",
        "s3://s3.example.com/images/key",
        "s3+http://127.0.0.1:9000/images/key",
        f"s3://AKIA:{SECRET}@s3.amazonaws.com/images/key",
        f"s3+https://AKIA:{SECRET}@s3.amazonaws.com:443/images/key",
        f"s3+https://AKIA:{SECRET}@host/a/prefix/images/key",
        "s3://im%61ges/k%65y",
    ],
)
def test_only_the_last_two_segments_count(url: str) -> None:
    assert S3Location.parse(url) == ("images", "key", "/key")


@pytest.mark.parametrize("key", ["a b", "a/b", "a%2Fb", "?#+&=", "\N{SNOWMAN}", "~._-", "a//b"])
def test_a_key_survives_its_url(key: str) -> None:
    made = S3Location.of("images", key)
    assert S3Location.parse(made.url) == made
    assert made.url.count("/") == 3


def test_all_but_unreserved_characters_of_a_path_are_encoded_for_the_signature() -> None:
    assert S3Location.of("images", "a!'(*)~+=/b").path == "/a%21%27%28%2A%29~%2B%3D/b"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("swift://a/b", "write s3://BUCKET/KEY"),
        ("s3:a/b", "write s3://BUCKET/KEY"),
        ("s3://a", "must end in /BUCKET/KEY"),
        (f"s3://AKIA:{SECRET}@host/images/", "must end in /BUCKET/KEY"),
        (f"s3://images/key?sig={SECRET}", "no query or fragment"),
        (f"s3://images/key#{SECRET}", "no query or fragment"),
        ("s3://images/100%", "no query or fragment"),
        ("s3://images/%FF", "UTF-8"),
        ("s3://images/%00", "not a valid S3 key: its path contains a control character"),
        ("s3://images/..%2F..%2Fother%2Fkey", "dot segment"),
        ("s3://im ages/key", "not a valid bucket name"),
        ("s3://images%2Fx/key", "not a valid bucket name"),
        (f"s3://images/{'x' * 1025}", "at most 1024 bytes"),
    ],
)
def test_invalid_locations_are_refused_without_their_text(url: str, message: str) -> None:
    with pytest.raises(LocationRefused, match=message) as caught:
        S3Location.parse(url)
    assert SECRET not in str(caught.value)


def test_names_of_buckets() -> None:
    assert all(map(is_bucket, ["images", "my.images", "Old_Images", "x-1"]))
    assert not any(map(is_bucket, ["", "a", "-a", "a/b", "a..b", "a b", "a?", "a@b", "x" * 256]))
