# SPDX-License-Identifier: Apache-2.0
"""mypy checks a user's program with the installed imageapi: right calls pass, wrong ones fail."""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import imageapi
from tests.functional import wheel
from tests.paths import BIN

RIGHT = '''\
"""A host application, with all the names that stay."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_config import cfg
from webob import Request, Response

import imageapi
from imageapi import (
    Caller,
    ConfigurationError,
    ImageAPI,
    ImageAPIError,
    ImageAPIMiddleware,
    load_config,
)
from imageapi.errors import BackendUnavailable
from imageapi.image import Image
from imageapi.opts import list_opts
from imageapi.testing.fakes import FailingStore, MemoryRegistry
from imageapi.wsgi import app_factory, application, filter_factory


def site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the site"]


def build() -> ImageAPI:
    conf: cfg.ConfigOpts = load_config([Path("imageapi.conf"), "more.conf"])
    for section, options in list_opts():
        conf.register_opts(options, group=section)
    try:
        return ImageAPI(conf)
    except ConfigurationError as error:
        root: ImageAPIError = error
        raise SystemExit(os.linesep.join(error.problems)) from root


images = build()


def download(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    request = Request(environ)
    caller = Caller(user_id="alice", project_id=None, roles=("member",), is_admin=False)
    environ["imageapi.caller"] = caller
    answer: Response = images.respond(request, "my-image")
    status: int = answer.status_code
    print(status, caller.token, answer.headerlist)
    return answer(environ, start_response)


in_front = ImageAPIMiddleware(site, load_config())
every: list[WSGIApplication] = [site, images, in_front, in_front.api, download, application]
wrap: Callable[[WSGIApplication], WSGIApplication] = filter_factory({}, config_file="a.conf")
every += [wrap(site), app_factory({}), imageapi.ImageAPI(cfg.ConfigOpts())]
in_front.close()
images.close()

registry = images.backends.registry.backend
store = images.backends.stores[0].backend
assert isinstance(registry, MemoryRegistry)
assert isinstance(store, FailingStore)
registry.put(Image(id="i", status="active", is_public=True, size=4))
store.put("i", b"data")
store.fail(BackendUnavailable("the network is down"), at=2)
'''

WRONG = """\
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from webob import Request

import imageapi


def site(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return images.respond(Request(environ), "i")(environ)  # [call-arg]


conf = imageapi.load_config(None)
images = imageapi.ImageAPI("imageapi.conf")  # [arg-type]
request = Request.blank("/")
imageapi.load_config([1])  # [list-item]
imageapi.ImageAPIMiddleware(conf, site)  # [arg-type] [arg-type]
imageapi.ImageAPIMiddleware(lambda environ: [], conf)  # [arg-type] [misc]
images.respond(request.environ, "i")  # [arg-type]
images.respond(request, b"i")  # [arg-type]
images.respond(request)  # [call-arg]
body: str = images.respond(request, "i")  # [assignment]
images.respond(request, "i").no_such_name  # [attr-defined]
imageapi.Caller("alice")  # [call-arg]
imageapi.Caller(roles="member")  # [arg-type]
imageapi.Caller(is_admin=None)  # [arg-type]
imageapi.Caller().project_id = "p"  # [misc]
imageapi.ConfigurationError(["a"]).problems.append("b")  # [attr-defined]
imageapi.NoSuchName  # [attr-defined]
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with imageapi's wheel, before the packages of the tests."""
    environment = tmp_path_factory.mktemp("user") / "env"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=60
    )
    interpreter = environment / "bin" / "python"
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    install = [*pip, "--python", str(interpreter), "install", "--no-deps", "--no-index"]
    built = wheel.build_wheel(tmp_path_factory.mktemp("wheel"))
    subprocess.run([*install, str(built)], check=True, capture_output=True, timeout=120)
    where = [str(interpreter), "-c", "import imageapi; print(imageapi.__file__)"]
    found = subprocess.run(
        where, check=True, capture_output=True, text=True, timeout=60, cwd=environment
    )
    assert Path(found.stdout).parent == site_packages / "imageapi"
    assert (site_packages / "imageapi" / "py.typed").exists()
    return interpreter


def test_users_program(python: Path, tmp_path: Path) -> None:
    """One run checks both programs, because mypy needs most time for their imports."""
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [str(BIN / "mypy"), "--strict", "--python-executable", str(python)]
    command += ["--config-file", "", "--cache-dir", str(tmp_path / "cache"), "--no-error-summary"]
    done = subprocess.run(
        [*command, "right.py", "wrong.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    found = re.findall(r"^wrong\.py:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    assert done.stdout.count(": error: ") == len(found), done.stdout
    expected = [
        (str(number), code)
        for number, line in enumerate(WRONG.splitlines(), 1)
        for code in re.findall(r"\[([a-z-]+)\]", line.partition("#")[2])
    ]
    assert sorted(found) == sorted(expected), done.stdout


def test_program_names_all_that_is_public() -> None:
    assert [name for name in imageapi.__all__ if f" {name}," not in RIGHT] == []
