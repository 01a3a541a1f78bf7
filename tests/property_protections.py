# SPDX-License-Identifier: Apache-2.0
"""Callers who may read all properties, and property protection files."""

from pathlib import Path

from imageapi.caller import ANONYMOUS
from imageapi.policy.property_protections import PropertyProtections

#: What a caller may read without property protections.
ALL = PropertyProtections().reader(ANONYMOUS, lambda rule, caller: False)


def protection_file(folder: Path, readers: dict[str, str]) -> Path:
    """Write a file with who may read which properties; nobody may do anything else."""
    path = folder / "property-protections.conf"
    path.write_text(
        "".join(
            f"[{pattern}]\ncreate = !\nread = {who}\nupdate = !\ndelete = !\n"
            for pattern, who in readers.items()
        )
    )
    return path
