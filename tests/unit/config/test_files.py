# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from imageapi import load_config
from imageapi.config import options
from imageapi.errors import ConfigurationError


def test_later_file_holds(tmp_path: Path) -> None:
    for name, size in (("a.conf", 5), ("b.conf", 6)):
        (tmp_path / name).write_text(f"[x]\nsize = {size}\n")
    conf = load_config([tmp_path / "a.conf", str(tmp_path / "b.conf")])
    assert conf.config_file == [str(tmp_path / "a.conf"), str(tmp_path / "b.conf")]


@pytest.mark.parametrize("content", [None, b"no section", "folder"])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "imageapi.conf"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="the configuration cannot be read") as caught:
        load_config([path])
    assert str(path) in str(caught.value)


# oslo.config decodes the file in blocks of 8,192 bytes: the offset is that in the file.
@pytest.mark.parametrize("offset", [20, 30_000])
def test_file_that_is_not_utf8(tmp_path: Path, offset: int) -> None:
    good, bad = tmp_path / "good.conf", tmp_path / "bad.conf"
    good.write_text("[imageapi]\n# é\n", encoding="utf-8")
    bad.write_bytes(b"[imageapi]\n#".ljust(offset, b"x") + b"\xefle\n")
    with pytest.raises(ConfigurationError) as caught:
        load_config([good, bad])
    assert str(caught.value) == (
        f"the configuration cannot be read: {bad}: not UTF-8: byte 0xef at offset {offset};"
        " encode the text in UTF-8"
    )


@pytest.mark.parametrize("name", ["imageapi.conf", "imageapi.conf.d/a.conf"])
def test_usual_file_that_is_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"[imageapi]\nregistry = f\xefle\n")
    with pytest.raises(ConfigurationError) as caught:
        load_config()
    assert f"{path}: not UTF-8: byte 0xef at offset 23; encode the text" in str(caught.value)


def test_no_option_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """oslo.config would let environment variables override the files, without a message."""
    monkeypatch.setenv("OS_IMAGEAPI__VERIFY_CHECKSUM", "never")
    path = tmp_path / "imageapi.conf"
    path.write_text("[imageapi]\nverify_checksum = always\n")
    for files in ([path], None):
        conf = load_config(files)
        conf.register_opts(options.CORE, options.GROUP)
        assert conf.imageapi.verify_checksum == ("always" if files else "once")


def test_one_path_instead_of_a_list() -> None:
    with pytest.raises(ConfigurationError, match=r"list of paths: write \['imageapi.conf'\]"):
        load_config("imageapi.conf")


def test_usual_places_are_ours_and_not_the_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["/usr/bin/gunicorn"])
    (tmp_path / "gunicorn.conf").write_text("[imageapi]\nchunk_size = 5\n")
    assert str(tmp_path / "gunicorn.conf") not in load_config().config_file
    (tmp_path / "imageapi.conf").write_text("[imageapi]\nchunk_size = 5\n")
    assert str(tmp_path / "imageapi.conf") in load_config().config_file
