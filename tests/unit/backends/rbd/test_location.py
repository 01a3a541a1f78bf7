# SPDX-License-Identifier: Apache-2.0
import re

import pytest

from imageapi.backends.rbd.location import RBDLocation
from imageapi.errors import LocationRefused


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("rbd://f/p/i/s", RBDLocation("f", "p", "i", "s")),
        ("RBD://f/p/i/s", RBDLocation("f", "p", "i", "s")),
        ("rbd://f/a%2Fb/i%20j/%C3%BC%40", RBDLocation("f", "a/b", "i j", "ü@")),
        ("rbd://i", RBDLocation(None, None, "i", "snap")),
        ("rbd://i%2Fj", RBDLocation(None, None, "i/j", "snap")),
    ],
)
def test_parse(url: str, location: RBDLocation) -> None:
    assert RBDLocation.parse(url) == location
    assert location.url == url.replace("RBD", "rbd")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "not an RBD location"),
        ("rbd:f/p/i/s", "not an RBD location"),
        ("http://f/p/i/s", "not an RBD location"),
        ("rbd://", "without empty segments"),
        ("rbd://f/p//s", "without empty segments"),
        ("rbd://f/p/i", "rbd://FSID/POOL/IMAGE/SNAP"),
        ("rbd://f/p/i/s/t", "rbd://FSID/POOL/IMAGE/SNAP"),
        ("rbd://f/p/i/s?s3cret", "write %3F"),
        ("rbd://f/p/i/s#s3cret", "%23"),
        ("rbd://f/p/i/%zz", "%25"),
        ("rbd://f/p/i/%FF", "must be UTF-8"),
        ("rbd://f/p/i/\ud800", "must be UTF-8"),
        ("rbd://f/p/i/s3cret%00", "no %00"),
    ],
)
def test_parse_refuses(url: str, told: str) -> None:
    with pytest.raises(LocationRefused, match=re.escape(told)) as caught:
        RBDLocation.parse(url)
    assert "s3cret" not in str(caught.value)
