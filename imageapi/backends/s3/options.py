# SPDX-License-Identifier: Apache-2.0
"""The options of a section that reads from S3, and the URLs that follow from them."""

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from oslo_config import cfg

from imageapi.backends.http_client.options import OPTIONS
from imageapi.backends.http_client.urls import Url, prefix
from imageapi.backends.s3.location import is_bucket
from imageapi.errors import ConfigurationError

# A bucket name that can be one label of a host.  A dot in it would not fit a certificate.
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[A-Za-z0-9-]{1,64}")

CONNECTION = (
    cfg.StrOpt(
        "endpoint_url",
        help="The URL of the S3 server, such as https://s3.example.com. If unset, it is"
        " https://s3.<region_name>.amazonaws.com.",
    ),
    cfg.StrOpt(
        "region_name",
        default="us-east-1",
        help="The region of the buckets. It is part of the signature of each request.",
    ),
    cfg.StrOpt(
        "access_key",
        secret=True,
        help="The access key. If neither access_key nor secret_key is set, the credentials are"
        " those that botocore finds: in environment variables, in files such as"
        " ~/.aws/credentials, or from the metadata service of the machine.",
    ),
    cfg.StrOpt("secret_key", secret=True, help="The secret key of access_key."),
    cfg.StrOpt(
        "addressing_style",
        default="auto",
        choices=[
            ("auto", "path if endpoint_url is set; otherwise virtual where the name allows it."),
            ("path", "The bucket is in the path of a URL."),
            ("virtual", "The bucket is in the host name of a URL."),
        ],
        help="Where the name of the bucket is in a URL.",
    ),
    *OPTIONS,
)

BUCKET = cfg.StrOpt(
    "bucket",
    required=True,
    help="The bucket of the data. The data of a record without a location is the object <id>.",
)


def refuse_half_a_login(section: cfg.ConfigOpts.GroupAttr) -> None:
    """Refuse one of the two keys without the other.

    :raises ConfigurationError: only one of them is set.
    """
    if bool(section.access_key) != bool(section.secret_key):
        set_, unset = ("access_key", "secret_key")[:: 1 if section.access_key else -1]
        raise ConfigurationError([f"{unset}: must be set too, because {set_} is set"])


def buckets_of(section: cfg.ConfigOpts.GroupAttr) -> Sequence[str]:
    """Return the buckets of a section, that of the option ``bucket`` first.

    :raises ConfigurationError: a name is invalid.
    """
    named = [("bucket", section.bucket), *(("allowed_buckets", x) for x in section.allowed_buckets)]
    wrong = [
        f"{option}: {name!r:.100} is not a valid bucket name; a name has 2 to 255 letters, digits"
        " and the characters . _ -"
        for option, name in named
        if not is_bucket(name)
    ]
    if wrong:
        raise ConfigurationError(wrong)
    return [name for _, name in named]


def urls_of(section: cfg.ConfigOpts.GroupAttr) -> Callable[[str], Url]:
    """Return a function from the name of a bucket to its URL, which ends in a slash.

    :raises ConfigurationError: the endpoint or the region is invalid, or the buckets
        cannot be part of a host name.
    """
    if not _REGION.fullmatch(section.region_name):
        raise ConfigurationError([f"region_name: {section.region_name!r:.100} is not a region"])
    try:
        endpoint = prefix(section.endpoint_url or _of_amazon(section.region_name))
    except ValueError as error:
        raise ConfigurationError([f"endpoint_url: {error}"]) from None
    style = section.addressing_style
    if style == "virtual" and _is_address(endpoint.host):
        raise ConfigurationError(
            ["addressing_style: must be path, because endpoint_url has an IP address"]
        )
    is_virtual = style == "virtual" or (style == "auto" and not section.endpoint_url)
    path = endpoint.path.rstrip("/")

    def url_of(bucket: str) -> Url:
        if is_virtual and _LABEL.fullmatch(bucket):
            return replace(endpoint, host=f"{bucket}.{endpoint.host}", path=f"{path}/")
        return replace(endpoint, path=f"{path}/{bucket}/")

    return url_of


def _of_amazon(region: str) -> str:
    return f"https://s3.{region}.amazonaws.com"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
