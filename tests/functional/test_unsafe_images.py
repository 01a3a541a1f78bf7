# SPDX-License-Identifier: Apache-2.0
"""Images that qemu-img makes: those that refer to other files are refused, and no others."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.functional.download_clients import run_client
from tests.functional.http_client import ask
from tests.functional.servers import serving

HARMLESS = [
    *(
        ("qcow2", f"compat={compat},cluster_size={size}{more}")
        for compat in ("0.10", "1.1")
        for size in (512, 1024, 4096, 16384, 65536, 2097152)
        for more in ("", ",preallocation=metadata")
    ),
    *(
        ("qcow2", f"compat=1.1,{option}")
        for option in (
            "lazy_refcounts=on",
            "extended_l2=on",
            "compression_type=zstd",
            "compression_type=zlib",
            "refcount_bits=1",
            "refcount_bits=64",
            "preallocation=falloc",
            "preallocation=full",
            "extended_l2=on,compression_type=zstd",
        )
    ),
    *(
        ("vmdk", f"subformat={kind},{option}")
        for kind in ("monolithicSparse", "streamOptimized")
        for option in ("compat6=on", "compat6=off", "adapter_type=lsilogic", "hwversion=9")
    ),
    ("vdi", "static=off"),
    ("vdi", "static=on"),
    ("vpc", "subformat=dynamic"),
    ("vpc", "subformat=fixed"),
    ("vpc", "subformat=dynamic,force_size=on"),
    ("vhdx", "subformat=dynamic"),
    ("vhdx", "subformat=fixed"),
    ("vhdx", "block_size=1048576"),
    ("vhdx", "log_size=1048576"),
    ("parallels", "cluster_size=65536"),
    ("parallels", "cluster_size=1048576"),
    ("raw", "preallocation=off"),
    ("raw", "preallocation=full"),
]

UNSAFE = [
    *(
        ("qcow2", f"compat={compat},backing_file=base,backing_fmt=raw")
        for compat in ("0.10", "1.1")
    ),
    ("qcow2", "data_file=data"),
    ("qcow2", "data_file=data,data_file_raw=on"),
    ("qed", "cluster_size=65536"),
    ("qed", "backing_file=base,backing_fmt=raw"),
    ("qcow", "backing_file=base,backing_fmt=raw"),
    ("vmdk", "subformat=monolithicFlat"),
    ("vmdk", "subformat=twoGbMaxExtentFlat"),
    ("vmdk", "subformat=twoGbMaxExtentSparse"),
]


def made(folder: Path, cases: Sequence[tuple[str, str]]) -> dict[str, bytes]:
    """What qemu-img makes of each case; a case has a folder of its own."""
    images = {}
    for number, (kind, options) in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        (place / "base").write_bytes(bytes(range(256)) * 4096)
        converts = "file" not in options
        command = ["qemu-img", "convert" if converts else "create"]
        command += ["-f", "raw", "-O", kind] if converts else ["-f", kind]
        command += ["-o", options, *(["base"] if converts else []), "image"]
        command += [] if converts else ["1M"]
        status, output = run_client(command, place)
        assert status == 0, output
        images[f"{kind}-{number}"] = (place / "image").read_bytes()
    return images


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return made(tmp_path_factory.mktemp("harmless"), HARMLESS)


@pytest.fixture(scope="module")
def unsafe(
    tmp_path_factory: pytest.TempPathFactory, harmless: dict[str, bytes]
) -> dict[str, bytes]:
    images = made(tmp_path_factory.mktemp("unsafe"), UNSAFE)
    flat = next(data for data in images.values() if b'createType="monolithicFlat"' in data)
    images["passwd"] = re.sub(rb'FLAT "[^"]+"', b'FLAT "/etc/passwd"', flat)
    assert images["passwd"] != flat
    for kind in (b"monolithicSparse", b"streamOptimized"):
        data = next(data for data in harmless.values() if b'createType="' + kind in data)
        images[f"foreign-{kind.decode()}"] = data.replace(b'SPARSE "image"', b'SPARSE "/tmp/"')
        end = data.index(b"\0", 512)
        hint = b'parentFileNameHint="/etc/passwd"\n'
        images[f"parent-{kind.decode()}"] = data[:end] + hint + data[end + len(hint) :]
    return images


@pytest.fixture(params=["refuse", "log", "serve"])
def unsafe_server(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    harmless: dict[str, bytes],
    unsafe: dict[str, bytes],
) -> Iterator[tuple[str, int, Path]]:
    """The mode, the port of two workers, and their log."""
    deployment = Deployment(tmp_path)
    deployment.configure(f"unsafe_images = {request.param}")
    for image_id, data in {**harmless, **unsafe}.items():
        # The record says nothing true of the format.
        deployment.add(image_id, data, disk_format="raw")
    with serving(deployment.config_file, "--workers", "2") as port:
        yield request.param, port, tmp_path / "server.log"


def test_images_of_qemu_img(
    unsafe_server: tuple[str, int, Path], harmless: dict[str, bytes], unsafe: dict[str, bytes]
) -> None:
    mode, port, log = unsafe_server
    assert len(harmless) >= 50
    for image_id, data in {**harmless, **unsafe}.items():
        middle, end = len(data) // 2, len(data) - 9
        for part, stop in ((0, len(data)), (middle, middle + 9), (end, len(data))):
            value = {} if part == 0 else {"Range": f"bytes={part}-{stop - 1}"}
            answer = ask(port, f"/v1/images/{image_id}", **value)
            if mode == "refuse" and image_id in unsafe:
                assert answer.status == 403, image_id
            else:
                assert answer.status in (200, 206), image_id
                assert answer.body == data[part:stop]
        assert ask(port, f"/v1/images/{image_id}", "HEAD").status == 200
    text = log.read_text()
    told = {
        one for one in (*harmless, *unsafe) if f"image '{one}': store 'file': the data is" in text
    }
    assert told == (set() if mode == "serve" else set(unsafe))
