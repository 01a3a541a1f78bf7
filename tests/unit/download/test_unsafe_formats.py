# SPDX-License-Identifier: Apache-2.0
"""tests/functional/test_unsafe_images.py has the images that qemu-img makes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageapi.download import unsafe_formats
from imageapi.download.unsafe_formats import FIRST_BYTES, danger_in, may_be_unsafe

HAS_FOOTER = (1 << 64) - 1
DESCRIPTOR = b'version=1\ncreateType="monolithicSparse"\nRW 2048 SPARSE "disk.vmdk"\n'
FLAT = b'version=1\ncreateType="monolithicFlat"\nRW 2048 FLAT "disk-flat.vmdk" 0\n'


class Whole:
    """All data in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def part(self, start: int, stop: int) -> bytes:
        return self.data[start:stop]

    def last(self, count: int) -> bytes:
        return self.data[-count:] if len(self.data) >= count else b""


def danger(data: bytes) -> str:
    found = danger_in(Whole(data))
    assert may_be_unsafe(data) or not found
    assert may_be_unsafe(data[:FIRST_BYTES]) == may_be_unsafe(data)
    return found


def qcow(version: int, backing_file: int = 0, features: int = 0) -> bytes:
    head = b"QFI\xfb" + struct.pack(">IQ", version, backing_file)
    return head.ljust(72, b"\0") + struct.pack(">Q", features).ljust(1000, b"\0")


def vmdk(
    text: bytes = DESCRIPTOR, *, capacity: int = 2048, sector: int = 1, end: int = 21
) -> bytes:
    head = struct.pack("<4sIIQQQQIQQ", b"KDMV", 1, 3, capacity, 128, sector, 20, 512, 0, end)
    return head.ljust(512, b"\0") + text.ljust(20 * 512, b"\0") + bytes(1000)


def with_footer(sector: int = 1) -> bytes:
    """A streamOptimized image whose footer says where the descriptor is."""
    return vmdk(end=HAS_FOOTER) + bytes(512) + vmdk(sector=sector)[:512] + bytes(512)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (qcow(3, backing_file=1), "a qcow2 image with a backing file"),
        (qcow(2, backing_file=1 << 63), "a qcow2 image with a backing file"),
        (qcow(3, features=4), "a qcow2 image with a data file"),
        (qcow(3, features=1 << 5), "a qcow2 image with unknown features"),
        (qcow(3, features=1 << 63), "a qcow2 image with unknown features"),
        (qcow(1), "a qcow image of version 1, which OpenStack does not support"),
        (qcow(4), "a qcow2 image of an unknown version"),
        (b"QED\0".ljust(99, b"\0"), "a QED image, which OpenStack does not support"),
        (FLAT, "a VMDK descriptor, whose data is in other files"),
        (b"# \xe4\n" * 30000 + FLAT, "a VMDK descriptor, whose data is in other files"),
        (FLAT.replace(b"RW", b"  rdonly\t"), "a VMDK descriptor, whose data is in other files"),
        (b'createType="vmfs"\nparentFileNameHint="x"', "a VMDK image with a parent file"),
        (vmdk(b'parentFileNameHint="x"'), "a VMDK image with a parent file"),
        (vmdk(b'parentFileNameHint="x"', sector=0), "a VMDK image with a parent file"),
        (b"COWD" + vmdk(b'parentFileNameHint="x"')[4:], "a VMDK image with a parent file"),
        (vmdk(capacity=0), "a VMDK image whose descriptor names its data"),
        (vmdk(sector=2), "a VMDK image with its descriptor at an unusual place"),
        (vmdk(FLAT), "a VMDK image of a type whose data is in other files"),
        (vmdk(DESCRIPTOR + DESCRIPTOR), "a VMDK image with extents in other files"),
        (vmdk(DESCRIPTOR.replace(b"SPARSE", b"FLAT")), "a VMDK image with extents in other files"),
        (vmdk(b'RW 1 SPARSE "/etc/passwd"'), "a VMDK image with extents in other files"),
        (vmdk(b'RW 1 SPARSE "..\\x"'), "a VMDK image with extents in other files"),
        (
            with_footer(sector=9),
            "a VMDK image whose footer names another descriptor than its header",
        ),
    ],
)
def test_unsafe(data: bytes, told: str) -> None:
    assert danger(data) == told


@pytest.mark.parametrize(
    "data",
    [
        b"",
        qcow(2)[:24],
        b"KDMV",
        bytes(1000),
        b"#!/bin/sh\necho a script, which is text\n" * 30,
        b'A page about createType="monolithicFlat", without an extent',
        FLAT.replace(b"createType", b"kind"),
        b"\0" + FLAT,
        qcow(2),
        qcow(2, features=4),  # version 2 has other values there
        qcow(3),
        qcow(3, features=0b11011),
        qcow(3, backing_file=1)[:8],
        vmdk(),
        vmdk(DESCRIPTOR.replace(b"monolithicSparse", b"streamOptimized")),
        vmdk(b'RW 1 ZERO\nRW 1 SPARSE "a b.vmdk"'),
        vmdk(bytes(9), sector=0),
        vmdk(DESCRIPTOR + b"\0" + FLAT),
        with_footer(),
        with_footer()[:-512],
        b"COWD" + vmdk()[4:],
    ],
)
def test_harmless(data: bytes) -> None:
    assert danger(data) == ""


@given(
    st.sampled_from([b"", *unsafe_formats._EXAMINED]),
    st.lists(st.one_of(st.binary(), st.sampled_from([DESCRIPTOR, FLAT, bytes(448), b"\xff" * 8]))),
)
def test_any_data_is_judged(magic: bytes, rest: list[bytes]) -> None:
    danger(magic + b"".join(rest))


@pytest.mark.parametrize("repeated", [b"\n", b" ", b"rw ", b"rw 1 ", b"rw 1 x\n", b"createtype "])
def test_long_texts_take_little_time(repeated: bytes) -> None:
    """A time that grows with the square of the length would be minutes."""
    danger(b"createtype" + repeated * ((1 << 20) // len(repeated)))
