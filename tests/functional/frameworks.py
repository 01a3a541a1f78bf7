# SPDX-License-Identifier: Apache-2.0
"""The examples for frameworks, each on a real server over the same images."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from tests.deployment import Deployment
from tests.functional import examples, keeping_store
from tests.functional.examples import RunningExample
from tests.paths import ROOT

POLICY = """\
"download_image": "user_id:alice or not 'yes':%(restricted)s"
"""

HOOKS = """\
from tests.functional import basic_auth


def post_worker_init(worker):
    worker.wsgi = basic_auth.wsgi(worker.wsgi)
"""

# Larger than all socket buffers, so that a server can stop in the middle of a download.
BIG_SIZE = 48 << 20
ZEROS = hashlib.md5(bytes(BIG_SIZE), usedforsecurity=False).hexdigest()
GIVEN = os.urandom(3_000_000)
# The name has a character outside of ASCII, which every framework must handle.
IMAGE = "bild \u00fc"


class Row(NamedTuple):
    """A way to reach imageapi in an example.

    :ivar distribution: the framework's distribution, for its version; empty if there is none.
    :ivar path: the path of an image, without the id.
    """

    framework: str
    distribution: str
    way: str
    example: str
    path: str

    @property
    def id(self) -> str:
        return f"{self.framework}, {self.way}"


def _rows(framework: str, distribution: str, example: str, *ways: str) -> Iterator[Row]:
    for way in ways:
        yield Row(framework, distribution, way, example, WAYS[way])


ALONE = "behind a pipeline"
WAYS = {
    "under a prefix": "/glance/v1/images/",
    "in front": "/v1/images/",
    "at /v1": "/v1/images/",
    ALONE: "/v1/images/",
    "in a view": "/download/",
}
BESIDE = ("under a prefix", "in front")
ROWS = [
    *_rows("plain WSGI", "", "wsgi_app.py", *BESIDE),
    *_rows("Paste", "Paste", "paste", *BESIDE),
    *_rows("Flask", "Flask", "flask_app.py", *BESIDE, "in a view"),
    *_rows("Django", "Django", "django_app.py", *BESIDE, "in a view"),
    *_rows("Pyramid", "pyramid", "pyramid_app.py", *BESIDE, "in a view"),
    *_rows("Falcon", "falcon", "falcon_app.py", *BESIDE, "in a view"),
    *_rows("Bottle", "bottle", "bottle_app.py", *BESIDE),
    *_rows("oslo.middleware", "oslo.middleware", "oslo", ALONE),
    *_rows("FastAPI", "fastapi", "fastapi_app.py", "under a prefix", "at /v1"),
    *_rows("Starlette", "starlette", "starlette_app.py", *BESIDE),
]


class Change(NamedTuple):
    """A fault in an example: a text of it, and the wrong text instead."""

    example: str
    right: str
    wrong: str

    def make(self, folder: Path) -> None:
        path = folder / self.example
        text = path.read_text()
        assert text.count(self.right) == 1
        path.write_text(text.replace(self.right, self.wrong))


class Bench:
    """A deployment, and the examples that serve it. Each starts when it is first used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._served: dict[str, RunningExample] = {}
        self.deployment = Deployment(folder / "deployment")
        self._fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _fill(self) -> None:
        keeping_store.install_keeping_store(self._folder)
        folder = self.deployment.folder
        (folder / "policy.yaml").write_text(POLICY)
        policy = f"[imageapi_policy_rules]\npolicy_file = {folder}/policy.yaml\n"
        self.deployment.configure(more=policy)
        self.api = self.deployment.api()
        self._stack.callback(self.api.close)
        keeping = f"[imageapi_store_keeping]\ndirectory = {self.deployment.images}\n"
        self.deployment.configure(core="stores = keeping", more=policy + keeping)
        add = self.deployment.add
        name = {"name": "Schr\u00f6dinger", "disk_format": "vhd"}
        add(IMAGE, GIVEN, properties={"os": "Gr\u00fc\u00dfe", "os_version": "1"}, **name)
        add("plain", GIVEN, disk_format="vhd")
        add("restricted", GIVEN, properties={"restricted": "yes"})
        add("private", GIVEN, is_public=False, owner="alice")
        self.deployment.record("record-only", size=5)
        self.add_zeros("big")

    def add_zeros(self, image_id: str) -> None:
        """An image of zeros that takes no space on the disk."""
        self.deployment.add(image_id, b"", size=BIG_SIZE, checksum=ZEROS)
        os.truncate(self.deployment.data_path(image_id), BIG_SIZE)

    def serve(self, example: str) -> RunningExample:
        """The example, which is started if it does not run yet."""
        if example not in self._served:
            served = self._start(example, self._folder / example.replace(".", "-"))
            self._served[example] = self._stack.enter_context(served)
        return self._served[example]

    @contextmanager
    def serve_wrong(self, change: Change) -> Iterator[RunningExample]:
        """An example with a fault."""
        folder = Path(tempfile.mkdtemp(dir=self._folder)) / "wrong"
        with self._start(change.example, folder, change) as served:
            yield served

    @contextmanager
    def _start(
        self, example: str, folder: Path, change: Change | None = None
    ) -> Iterator[RunningExample]:
        command = examples.copy_example(example, folder)
        if change is not None:
            change.make(folder)
        shutil.copy(self.deployment.config_file, folder / "imageapi.conf")
        environ = {"PYTHONPATH": f"{ROOT}:{self._folder}"}
        if command[0] == "uvicorn":
            environ["EXAMPLE"] = command[-1]
            command[-1:] = ["--factory", "tests.functional.asgi_auth:authenticated"]
        with examples.run_example(command, folder, environ, HOOKS) as (port, process):
            images = self.deployment.images
            patience = 20 if change is None else 2
            yield RunningExample(port, psutil.Process(process.pid), images, patience)
