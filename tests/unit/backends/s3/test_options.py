# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from imageapi.backends.s3.options import urls_of
from imageapi.backends.s3.store import S3Store
from imageapi.errors import ConfigurationError
from imageapi.testing.suite import build


class Section:
    """A section of a configuration."""

    endpoint_url: str | None = None
    region_name = "us-east-1"
    addressing_style = "auto"

    def __init__(self, **options: Any) -> None:
        vars(self).update(options)


@pytest.mark.parametrize(
    ("options", "bucket", "url"),
    [
        ({}, "images", "https://images.s3.us-east-1.amazonaws.com/"),
        ({"region_name": "eu-west-3"}, "images", "https://images.s3.eu-west-3.amazonaws.com/"),
        # Its name has no certificate, or is no host name.
        ({}, "my.images", "https://s3.us-east-1.amazonaws.com/my.images/"),
        ({}, "Images", "https://s3.us-east-1.amazonaws.com/Images/"),
        ({"addressing_style": "path"}, "images", "https://s3.us-east-1.amazonaws.com/images/"),
        ({"endpoint_url": "http://h:81"}, "images", "http://h:81/images/"),
        ({"endpoint_url": "http://h/s3/"}, "images", "http://h/s3/images/"),
        (
            {"endpoint_url": "http://h:81", "addressing_style": "virtual"},
            "images",
            "http://images.h:81/",
        ),
    ],
)
def test_urls_of_buckets(options: dict[str, Any], bucket: str, url: str) -> None:
    section: Any = Section(**options)
    assert str(urls_of(section)(bucket)) == url


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"bucket": "a/b"}, "bucket: 'a/b' is not a valid bucket name"),
        ({"allowed_buckets": ["x", "c"]}, "allowed_buckets: 'x' is not a valid bucket name"),
        ({"region_name": "a.b"}, "region_name: 'a.b' is not a region"),
        ({"endpoint_url": "s3.example.com"}, "endpoint_url: it is not an http: or https: URL"),
        ({"endpoint_url": "http://u:secret@h"}, "endpoint_url: it must not contain credentials"),
        ({"access_key": "key"}, "secret_key: must be set too, because access_key is set"),
        ({"secret_key": "secret"}, "access_key: must be set too, because secret_key is set"),
        (
            {"endpoint_url": "http://127.0.0.1", "addressing_style": "virtual"},
            "addressing_style: must be path, because endpoint_url has an IP address",
        ),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(S3Store, **{"bucket": "images", **options})
    assert problem in str(caught.value)
    assert "secret@" not in str(caught.value)
