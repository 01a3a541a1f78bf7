# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest
from oslo_config import cfg

import imageapi
from imageapi import backends
from imageapi.backends.file.store import FileStore
from imageapi.caller import ANONYMOUS
from imageapi.config import plugins
from imageapi.errors import ConfigurationError
from imageapi.opts import list_opts


def test_without_the_extra_swift_its_options_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = [section for section, _ in list_opts()]
    assert "imageapi_store_swift" in sections
    monkeypatch.setattr(backends, "swift", None)  # so that it is restored
    for module in [name for name in sys.modules if name.startswith("imageapi.backends.swift")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "keystoneauth1", None)
    assert [section for section, _ in list_opts()] == [
        section for section in sections if "swift" not in section
    ]


def test_without_the_extra_s3_its_options_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = [section for section, _ in list_opts()]
    assert "imageapi_store_s3" in sections
    monkeypatch.setattr(backends, "s3", None)  # so that it is restored
    for module in [name for name in sys.modules if name.startswith("imageapi.backends.s3")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [name for name in sys.modules if name.startswith("botocore")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "botocore", None)
    assert [section for section, _ in list_opts()] == [
        section for section in sections if "s3" not in section
    ]


def test_without_the_extra_notifications_its_options_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sections = [section for section, _ in list_opts()]
    assert "imageapi_events_notifications" in sections
    # The module stays loaded for other tests; only this import of it fails.
    monkeypatch.delitem(sys.modules, "imageapi.events.notifications")
    monkeypatch.setitem(sys.modules, "oslo_messaging", None)
    assert [section for section, _ in list_opts()] == [
        section for section in sections if "notifications" not in section
    ]


def test_options_that_are_set_in_code(tmp_path: Path) -> None:
    """Registered from the public list, and then once more by the loader."""
    (tmp_path / "policy.yaml").write_text('"download_image": "!"')
    conf = imageapi.load_config([])
    for section, options in list_opts():
        conf.register_opts(options, group=section)
    conf.set_override("registry", "http", group="imageapi")
    conf.set_override("stores", ["http", "file"], group="imageapi")
    conf.set_override("endpoint", "http://records.example", group="imageapi_registry_http")
    conf.set_override("allowed_urls", ["http://data.example"], group="imageapi_store_http")
    conf.set_override("directory", "/images", group="imageapi_store_file")
    conf.set_override("policy_file", f"{tmp_path}/policy.yaml", group="imageapi_policy_rules")
    backends = plugins.load(conf)
    assert [loaded.driver for loaded in backends] == ["http", "http", "file", "rules"]
    store = backends.stores[1].backend
    assert isinstance(store, FileStore)
    assert store.directory == "/images"
    assert not backends.policy.backend.allows("download_image", ANONYMOUS, {})
    backends.close()


def test_what_is_wrong_in_code_is_told_at_once() -> None:
    conf = imageapi.load_config([])
    conf.register_opts(dict(list_opts())["imageapi"], group="imageapi")
    with pytest.raises(cfg.NoSuchOptError, match="verify_checksums"):
        conf.set_override("verify_checksums", "always", group="imageapi")
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        conf.set_override("chunk_size", 0, group="imageapi")
    conf.set_override("registry", "flie", group="imageapi")
    with pytest.raises(ConfigurationError, match="did you mean 'file'"):
        imageapi.ImageAPI(conf)
