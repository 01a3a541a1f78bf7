# SPDX-License-Identifier: Apache-2.0
import wsgiref.validate
from pathlib import Path
from typing import Any

import pytest
import webob
from paste.deploy import loadapp

import imageapi
from imageapi import wsgi
from imageapi.errors import ConfigurationError
from tests.deployment import Deployment, get

PASTE = """
[app:main]
use = egg:imageapi
config_file = %(here)s/imageapi.conf

[app:mounted]
use = egg:Paste#urlmap

[pipeline:filtered]
pipeline = images host

[filter:images]
use = egg:imageapi
config_file = %(here)s/imageapi.conf

[app:host]
paste.app_factory = tests.unit.test_wsgi:host_factory
"""


def host_factory(global_conf: dict[str, str], **local_conf: str) -> Any:
    def host(environ: Any, start_response: Any) -> list[bytes]:
        start_response("299 Host", [])
        return [b"host"]

    return host


@pytest.fixture
def paste(deployment: Deployment) -> Path:
    deployment.add("i", b"data")
    path = deployment.folder / "api-paste.ini"
    path.write_text(PASTE)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning:paste")
def test_paste_application_and_filter(paste: Path) -> None:
    assert get(loadapp(f"config:{paste}"), "/v1/images/i").body == b"data"
    filtered = loadapp(f"config:{paste}", name="filtered")
    assert get(filtered, "/v1/images/i").body == b"data"
    assert get(filtered, "/v1/images/i/").status_code == 299


def test_paste_settings_are_parsed_strictly() -> None:
    with pytest.raises(ConfigurationError, match="unknown setting 'config_flie'"):
        wsgi.app_factory({}, config_flie="x")
    with pytest.raises(ConfigurationError, match="names no file"):
        wsgi.app_factory({}, config_file="")
    with pytest.raises(ConfigurationError, match="/absent"):
        wsgi.filter_factory({}, config_file="/absent")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "path", ["/v1/images/i", "/v1/images/absent", "/v1/images/i?format=json", "/x"]
)
@pytest.mark.parametrize("range_header", ["", "bytes=1-2", "bytes=9-"])
def test_keeps_to_the_wsgi_protocol(
    deployment: Deployment, method: str, path: str, range_header: str
) -> None:
    deployment.add("i", b"data", properties={"a": "b"})
    validated = wsgiref.validate.validator(deployment.api())
    request = webob.Request.blank(path, method=method)
    if range_header:
        request.headers["Range"] = range_header
    # It raises an error if the application breaks the protocol.
    iterator: Any = validated(request.environ, lambda *args: lambda data: None)
    for _ in iterator:
        pass
    iterator.close()


def test_two_instances_do_not_know_of_each_other(tmp_path: Path) -> None:
    first, second = Deployment(tmp_path / "1"), Deployment(tmp_path / "2")
    first.add("i", b"first")
    second.configure(core="policy = visible\npublic_endpoint = http://second.example")
    second.add("i", b"second")
    apis = first.api(), second.api()
    assert [get(api, "/v1/images/i").body for api in apis] == [b"first", b"second"]
    assert "second" not in get(apis[0], "/v1/images/i").headers["X-Image-Meta-Uri"]


def test_public_names() -> None:
    assert sorted(imageapi.__all__) == [
        "Caller",
        "ConfigurationError",
        "ImageAPI",
        "ImageAPIError",
        "ImageAPIMiddleware",
        "load_config",
    ]
