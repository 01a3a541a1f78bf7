# SPDX-License-Identifier: Apache-2.0
"""S3 as Swift's ``s3api`` speaks it: it checks signatures, and multipart objects are SLOs."""

from typing import Any

from tests.functional.swift import KEY, Swift

#: One that s3api knows from tempauth.
ACCESS_KEY = "acme:reader"


def s3_options(swift: Swift, **more: Any) -> dict[str, Any]:
    """The options of a store in S3, except its bucket."""
    return {
        "endpoint_url": swift.url,
        "access_key": ACCESS_KEY,
        "secret_key": KEY,
        **more,
    }
