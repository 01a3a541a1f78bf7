# SPDX-License-Identifier: Apache-2.0
import errno
import logging
import os
from contextlib import closing
from typing import Any

import pytest

from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.listing import ListQuery
from imageapi.caller import ANONYMOUS
from imageapi.errors import BackendUnavailable
from tests.deployment import Deployment
from tests.unit.backends.file.listing_of_records import listed_ids

BY_ID = ListQuery(sort_key="id", descending=False)


def fail_to_open(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    real = os.open

    def failing(path: Any, *rest: Any, **how: Any) -> int:
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number), path)
        return real(path, *rest, **how)

    monkeypatch.setattr(os, "open", failing)


class TestNoRecords:
    def test_names_that_are_of_no_image(self, deployment: Deployment, lister: FileRegistry) -> None:
        text = '{"status": "active", "is_public": true}'
        for name in (
            ".new+x",
            "a b.json",
            "%2e.json",
            "detail.json",
            "i.json.bak",
            ".json",
            "%FF.json",
        ):
            (deployment.registry / name).write_text(text)
        (deployment.registry / os.fsdecode(b"\xff.json")).write_text(text)
        deployment.record("a b")
        assert (
            listed_ids(lister, BY_ID)
            == listed_ids(lister, BY_ID)
            == ["a b"]
            == list(lister.image_ids())
        )

    def test_what_is_no_file(self, deployment: Deployment, lister: FileRegistry) -> None:
        deployment.record("i")
        deployment.record_path("folder").mkdir()
        os.mkfifo(deployment.record_path("fifo"))
        deployment.record_path("self").symlink_to("self.json")
        deployment.record_path("nowhere").symlink_to("nothing.json")
        assert listed_ids(lister, BY_ID) == listed_ids(lister, BY_ID) == ["i"]

    def test_links(self, deployment: Deployment, lister: FileRegistry, settled: None) -> None:
        """As Kubernetes lays out a ConfigMap, whose change is that of one link."""
        for number in ("1", "2"):
            inner = deployment.registry / f"..{number}"
            inner.mkdir()
            public = "true" if number == "2" else "false"
            (inner / "i.json").write_text(f'{{"status": "active", "is_public": {public}}}')
        data = deployment.registry / "..data"
        data.symlink_to("..1")
        deployment.record_path("i").symlink_to("..data/i.json")
        outside = deployment.folder / "outside.json"
        outside.write_text('{"status": "active", "is_public": true}')
        deployment.record_path("out").symlink_to(outside)
        assert listed_ids(lister, BY_ID) == []
        new = deployment.registry / "..new"
        new.symlink_to("..2")
        new.rename(data)
        assert listed_ids(lister, BY_ID) == ["i"]

    def test_link_whose_target_appears(
        self, deployment: Deployment, lister: FileRegistry, settled: None
    ) -> None:
        deployment.record_path("i").symlink_to("..later")
        assert listed_ids(lister, BY_ID) == []
        (deployment.registry / "..later").write_text('{"status": "active", "is_public": true}')
        assert listed_ids(lister, BY_ID) == ["i"]


class TestMalformed:
    def test_is_left_out_with_one_warning_for_each_version(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        deployment.record("good")
        path = deployment.record_path("bad")
        path.write_text("{")
        for _ in range(3):
            assert listed_ids(lister, BY_ID) == ["good"]
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith(f"lists leave out a record: {path}: not JSON")
        path.write_text("[0]")
        for _ in range(3):
            assert listed_ids(lister, BY_ID) == ["good"]
        assert len(caplog.messages) == 2
        deployment.record("bad")
        assert listed_ids(lister, BY_ID) == ["bad", "good"]
        assert len(caplog.messages) == 2

    def test_warnings_are_bounded(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        for number in range(50):
            deployment.record_path(str(number)).write_text("{")
        assert listed_ids(lister, BY_ID) == listed_ids(lister, BY_ID) == []
        assert len(caplog.messages) == 21
        assert "lists also leave out 30 other records" in caplog.messages[-1]

    def test_becomes_malformed_while_the_list_is_read(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        for name in "abc":
            deployment.record(name)
        query = ListQuery(sort_key="id", descending=False)
        with closing(lister.list(query, ANONYMOUS)) as images:
            assert next(images).id == "a"
            deployment.record_path("b").write_text("{")
            assert [image.id for image in images] == ["c"]
        assert len(caplog.messages) == 1


class TestFailures:
    def test_missing_folder(self, deployment: Deployment, lister: FileRegistry) -> None:
        deployment.registry.rmdir()
        with pytest.raises(BackendUnavailable, match="No such file"):
            listed_ids(lister, BY_ID)
        deployment.registry.mkdir()
        deployment.record("i")
        assert listed_ids(lister, BY_ID) == ["i"]
        deployment.registry.rename(deployment.folder / "gone")
        with pytest.raises(BackendUnavailable, match="No such file"):
            listed_ids(lister, BY_ID)

    def test_other_folder_at_the_same_path(
        self, deployment: Deployment, lister: FileRegistry
    ) -> None:
        deployment.record("i")
        assert listed_ids(lister, BY_ID) == ["i"]
        deployment.registry.rename(deployment.folder / "old")
        deployment.registry.mkdir()
        deployment.record("j")
        assert listed_ids(lister, BY_ID) == ["j"]

    def test_one_file_without_permission_is_left_out(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        for name in "abc":
            deployment.record(name)
        fail_to_open(monkeypatch, "b.json", errno.EACCES)
        assert listed_ids(lister, BY_ID) == listed_ids(lister, BY_ID) == ["a", "c"]
        path = deployment.record_path("b")
        assert caplog.messages == [f"lists leave out a record: {path}: Permission denied"]

    @pytest.mark.parametrize("is_known", [False, True])
    def test_other_errors_fail_the_list(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        settled: None,
        monkeypatch: pytest.MonkeyPatch,
        is_known: bool,
    ) -> None:
        """A list without an image would tell clients that it is gone."""
        for name in "abc":
            deployment.record(name)
        if is_known:
            next(lister.list(ListQuery(sort_key="id", descending=False), ANONYMOUS))
            deployment.record("b", name="new")
        with monkeypatch.context() as failing:
            fail_to_open(failing, "b.json", errno.EMFILE)
            with pytest.raises(BackendUnavailable, match=r"b\.json: Too many open files"):
                listed_ids(lister, BY_ID)
        assert listed_ids(lister, BY_ID) == ["a", "b", "c"]

    def test_file_that_loses_its_permission_while_the_list_is_read(
        self,
        deployment: Deployment,
        lister: FileRegistry,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in "abc":
            deployment.record(name)
        query = ListQuery(sort_key="id", descending=False)
        with closing(lister.list(query, ANONYMOUS)) as images:
            assert next(images).id == "a"
            fail_to_open(monkeypatch, "b.json", errno.EACCES)
            assert [image.id for image in images] == ["c"]


@pytest.fixture(autouse=True)
def warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
