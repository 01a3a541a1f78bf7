# SPDX-License-Identifier: Apache-2.0
"""Disk images that refer to other files, or may do so.

A program that opens such an image also opens these files, on its own machine: qemu-img
and libvirt do so.  The image itself says what its format is, because these programs
look at the data too.  So the format in the image's record does not matter here.
"""

import re
import struct
from typing import Protocol

#: The number of bytes that `may_be_unsafe` needs, unless the data is shorter.
FIRST_BYTES = 64

_SECTOR = 512

# A VMDK descriptor is read up to these lengths, until a zero byte is found: in other data, one
# comes soon.  The last length is that up to which QEMU reads.
_DESCRIPTOR_LENGTHS = (512, 4096, 64 * 1024, (1 << 20) - 1)

_QCOW_HEADER = 104
_QCOW_DATA_FILE = 1 << 2
# Dirty, corrupt, data file, compression type and extended entries of the L2 table.
_QCOW_KNOWN_FEATURES = (1 << 5) - 1

# Magic, version, flags, capacity, grain size, descriptor's sector and length, entries in a
# table, and the sectors of the two grain directories.
_VMDK_HEADER = struct.Struct("<4sIIQQQQIQQ")
_VMDK_HAS_FOOTER = (1 << 64) - 1
_VMDK_FOOTER = 3 * _SECTOR

_VMDK_PARENT = "a VMDK image with a parent file"

_CREATE_TYPE = re.compile(r'createtype\s*=\s*"?([^"\r\n]*)')
_EXTENT = re.compile(r"^[ \t\r\f\v]*(?:rw|rdonly|noaccess)\s+[-+]?\d+\s+(\S+)(.*)", re.MULTILINE)


class Data(Protocol):
    """The data of an image, read in parts."""

    def part(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to before ``stop``; fewer if the data ends."""

    def last(self, count: int) -> bytes:
        """Return the last bytes; none if the data is shorter, or its end cannot be read."""


def may_be_unsafe(first: bytes) -> bool:
    """Whether data must be examined; True for few images.

    :param first: at least the first `FIRST_BYTES` bytes of the data, or all of it.
    """
    # A VMDK descriptor is text.  QEMU reads it up to the first zero byte.
    return first[:4] in _EXAMINED or b"\0" not in first[:FIRST_BYTES]


def danger_in(data: Data) -> str:
    """Examine the data of an image.

    :returns: what it is, such as "a qcow2 image with a backing file".  It contains no part
        of the data.  Empty if the data refers to no other file.
    """
    head = data.part(0, _SECTOR)
    examined = _EXAMINED.get(head[:4])
    return _danger_in_text(data) if examined is None else examined(head, data)


def _danger_in_qcow(head: bytes, _data: Data) -> str:
    # Missing bytes are zero: a header that ends early refers to no file.
    head = head.ljust(_QCOW_HEADER, b"\0")
    version, backing_file = struct.unpack_from(">IQ", head, 4)
    (features,) = struct.unpack_from(">Q", head, 72)
    if backing_file:
        return "a qcow2 image with a backing file"
    if version == 1:
        return "a qcow image of version 1, which OpenStack does not support"
    if version == 2:  # its header ends before the features
        return ""
    if version != 3:
        return "a qcow2 image of an unknown version"
    if features & _QCOW_DATA_FILE:
        return "a qcow2 image with a data file"
    if features & ~_QCOW_KNOWN_FEATURES:
        return "a qcow2 image with unknown features"
    return ""


def _danger_in_qed(_head: bytes, _data: Data) -> str:
    return "a QED image, which OpenStack does not support"


def _danger_in_sparse_vmdk(head: bytes, data: Data) -> str:
    """Examine an extent that may have a descriptor in its second sector."""
    head = head.ljust(_SECTOR, b"\0")
    header = _VMDK_HEADER.unpack_from(head)
    capacity, place, directory = header[3], header[5:7], header[9]
    sector, _ = place
    if sector and not capacity:
        return "a VMDK image whose descriptor names its data"
    if sector not in (0, 1):
        return "a VMDK image with its descriptor at an unusual place"
    if directory == _VMDK_HAS_FOOTER:
        footer = data.last(_VMDK_FOOTER)[_SECTOR : 2 * _SECTOR]
        if footer.startswith(b"KDMV") and _VMDK_HEADER.unpack_from(footer)[5:7] != place:
            return "a VMDK image whose footer names another descriptor than its header"
    text = _text_at(_SECTOR, data)
    if "parentfilenamehint" in text:
        return _VMDK_PARENT
    # Without a descriptor, QEMU reads nothing but a parent's name.
    return _danger_in_descriptor(text) if sector else ""


def _danger_in_descriptor(text: str) -> str:
    kinds = ("monolithicsparse", "streamoptimized")
    if any(kind not in kinds for kind in _CREATE_TYPE.findall(text)):
        return "a VMDK image of a type whose data is in other files"
    named = [(kind, name) for kind, name in _EXTENT.findall(text) if kind != "zero"]
    # The one extent is the image itself, under the name that it had when it was made.
    is_itself = all(kind == "sparse" and not re.search(r"[/\\]", name) for kind, name in named)
    return "" if is_itself and len(named) <= 1 else "a VMDK image with extents in other files"


def _danger_in_esx_vmdk(_head: bytes, data: Data) -> str:
    """Examine the older sparse format, in which QEMU looks for a parent's name too."""
    return _VMDK_PARENT if "parentfilenamehint" in _text_at(_SECTOR, data) else ""


def _danger_in_text(data: Data) -> str:
    """Examine data that may be a VMDK descriptor without an image."""
    text = _text_at(0, data)
    if "createtype" not in text:
        return ""
    if "parentfilenamehint" in text:
        return _VMDK_PARENT
    return "a VMDK descriptor, whose data is in other files" if _EXTENT.search(text) else ""


def _text_at(start: int, data: Data) -> str:
    """Return what QEMU reads as a descriptor, in lower case."""
    text = b""
    for length in _DESCRIPTOR_LENGTHS:
        wanted = length - len(text)
        read = data.part(start + len(text), start + length)
        text += read
        if len(read) < wanted or b"\0" in read:
            break
    return text.partition(b"\0")[0].decode("latin-1").lower()


_EXAMINED = {
    b"QFI\xfb": _danger_in_qcow,
    b"QED\0": _danger_in_qed,
    b"KDMV": _danger_in_sparse_vmdk,
    b"COWD": _danger_in_esx_vmdk,
}
