# SPDX-License-Identifier: Apache-2.0
"""An ImageAPI with a registry and stores in memory. A test can make them fail."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import webob
from oslo_config import cfg

import imageapi
from imageapi import Caller
from imageapi.errors import RangeNotSupported
from imageapi.events.base import EventsBackend
from imageapi.image import Image, Location
from imageapi.testing.fakes import FailingStore, MemoryRegistry
from tests.deployment import close, send

MEMBER = Caller(user_id="u1", project_id="p1", roles=("member",))
OTHER = Caller(user_id="u2", project_id="p2", roles=("member",))
ADMIN = Caller(user_id="root", project_id="p0", roles=("admin",), is_admin=True)


def image_of(data: bytes | None, **fields: Any) -> Image:
    """An active public image with the size and MD5 of data; its id is ``i`` unless given."""
    size = None if data is None else len(data)
    checksum = None if data is None else hashlib.md5(data, usedforsecurity=False).hexdigest()
    given = {"id": "i", "status": "active", "is_public": True, "size": size, "checksum": checksum}
    return Image(**{**given, **fields})


class Memory:
    """The application, its registry and its two stores (``memory`` and ``second``)."""

    def __init__(
        self,
        folder: Path,
        rules: str | None = None,
        events: Sequence[EventsBackend] = (),
        **core: Any,
    ) -> None:
        """Build it; ``rules`` is the text of a policy file, ``core`` options of [imageapi]."""
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        self.api = imageapi.ImageAPI(self._configured(conf, folder, rules, core), events=events)
        registry = self.api.backends.registry.backend
        first, second = (loaded.backend for loaded in self.api.backends.stores)
        assert isinstance(registry, MemoryRegistry)
        assert isinstance(first, FailingStore)
        assert isinstance(second, FailingStore)
        self.registry, self.store, self.second = registry, first, second

    @staticmethod
    def _configured(
        conf: cfg.ConfigOpts, folder: Path, rules: str | None, core: Mapping[str, Any]
    ) -> cfg.ConfigOpts:
        lines = ["[imageapi]", "registry = memory", "stores = memory:failing, second:failing"]
        lines += [f"{name} = {value}" for name, value in core.items()]
        if rules is None:
            lines.append("policy = visible")
        else:
            (folder / "policy.yaml").write_text(rules)
            lines += ["[imageapi_policy_rules]", "policy_file = policy.yaml"]
        path = folder / "memory.conf"
        path.write_text("\n".join(lines))
        conf([], default_config_files=[str(path)], default_config_dirs=[])
        return conf

    def put(self, data: bytes | None = b"data", **fields: Any) -> Image:
        """Add an active public image with data; its id is ``i`` unless given."""
        image = image_of(data, **fields)
        self.registry.put(image)
        if data is not None:
            self.store.put(image.id, data)
        return image

    def request(
        self,
        path: str = "/v1/images/i",
        method: str = "GET",
        caller: Caller | None = None,
        **headers: Any,
    ) -> webob.Response:
        """The answer, its body unread.  Header names are written with underscores."""
        return send(self.api, path, method, headers, caller)

    def get(self, path: str = "/v1/images/i", **given: Any) -> webob.Response:
        """A GET's answer, its body read to the end and closed."""
        response = self.request(path, **given)
        try:
            data = b"".join(response.app_iter)
        finally:
            close(response)
        response.app_iter = [data]
        response.headers["Content-Length"] = str(len(data))
        return response

    def head(self, path: str = "/v1/images/i", **given: Any) -> webob.Response:
        """A HEAD's answer."""
        response = self.request(path, method="HEAD", **given)
        assert b"".join(response.app_iter) == b""
        close(response)
        return response


def blobs_without(monkeypatch: pytest.MonkeyPatch, memory: Memory, attribute: str) -> None:
    """From now on Blobs of the first store have None as ``total_size`` or ``version``."""
    opens = memory.store.open

    def open_without(*args: Any, **wanted: Any) -> Any:
        blob = opens(*args, **wanted)
        setattr(blob, attribute, None)
        return blob

    monkeypatch.setattr(memory.store, "open", open_without)


class NoRangesStore(FailingStore):
    """Says that it reads ranges, but reads only whole data: like a server that ignores Range."""

    def open(self, location: Location, **wanted: Any) -> Any:
        if wanted.get("start") or wanted.get("stop") is not None:
            raise RangeNotSupported("whole data only")
        return super().open(location, **wanted)
