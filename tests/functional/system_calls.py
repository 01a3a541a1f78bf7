# SPDX-License-Identifier: Apache-2.0
"""Runs a command with the system calls of a unit file, as systemd would.

``python -m tests.functional.system_calls UNIT COMMAND [WORD]...``

It applies ``SystemCallFilter=``, ``MemoryDenyWriteExecute=`` and ``RestrictAddressFamilies=``,
through libseccomp, which systemd itself uses.
"""

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.functional.download_clients import FOLDER, environ, program

_ALLOW = 0x7FFF0000
_EPERM = 0x00050000 | errno.EPERM
_WRITE, _EXEC = 2, 4  # PROT_WRITE and PROT_EXEC
_MASKED_EQUAL = 7  # of libseccomp's scmp_compare


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def _protection(mask: int, value: int) -> _Comparison:
    """The third argument of mmap(2) and mprotect(2) has this value below a mask."""
    return _Comparison(2, _MASKED_EQUAL, mask, value)


def _family(name: str) -> _Comparison:
    return _Comparison(0, _MASKED_EQUAL, 0xFFFFFFFF, int(getattr(socket, name)))


# What systemd lets through of them: no memory that is written and executed.
_EITHER = [_protection(_WRITE | _EXEC, value) for value in (0, _WRITE, _EXEC)]
_NO_EXEC = [_protection(_EXEC, 0)]
_PROTECTIONS: dict[str, Sequence[_Comparison | None]] = {
    "mmap": _EITHER,
    "mprotect": _NO_EXEC,
    "pkey_mprotect": _NO_EXEC,
}


def analyze(*words: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run systemd-analyze, which needs no systemd that runs."""
    environment = dict(environ(Path("/nonexistent")))
    libraries = [environment["LD_LIBRARY_PATH"]]
    libraries += map(str, FOLDER.glob("usr/lib/*-linux-gnu*/systemd"))
    environment["LD_LIBRARY_PATH"] = ":".join(libraries)
    return subprocess.run(
        [program("systemd-analyze"), "--no-pager", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings_of(unit: Path) -> dict[str, list[str]]:
    """The values of each setting of a unit file, in their order; sections do not matter here."""
    settings: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")):
            settings.setdefault(name, []).append(value)
    return settings


def allowed_by(filters: list[str]) -> set[str]:
    """The names of the system calls that SystemCallFilter= allows.

    :param filters: its values.  The first one says what is allowed, the others what is not.
    """
    allowed = set(_names(filters[0].split()))
    for more in filters[1:]:
        assert more.startswith("~")
        allowed -= set(_names(more[1:].split()))
    return allowed


def _names(words: list[str]) -> list[str]:
    names: list[str] = []
    for word in words:
        if not word.startswith("@"):
            names.append(word)
            continue
        listed = analyze("syscall-filter", word).stdout
        inside = [line.strip() for line in listed.splitlines()[1:]]
        names += _names([name for name in inside if name and not name.startswith("#")])
    return names


def install_filter(unit: Path) -> None:
    """Apply the unit's filter to this process and to all that it starts."""
    settings = settings_of(unit)
    library = ctypes.CDLL(str(next(FOLDER.glob("usr/lib/*/libseccomp.so.2"), "libseccomp.so.2")))
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_EPERM)))
    assert settings["MemoryDenyWriteExecute"] == ["true"]
    families = [_family(name) for name in settings["RestrictAddressFamilies"][0].split()]
    compared = {**_PROTECTIONS, "socket": families}
    for name in sorted(allowed_by(settings["SystemCallFilter"])):
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # not of this architecture
        for comparison in compared.get(name, [None]):
            given = None if comparison is None else ctypes.byref(comparison)
            count = 0 if comparison is None else 1
            done = library.seccomp_rule_add_array(
                context, ctypes.c_uint32(_ALLOW), number, count, given
            )
            assert done == 0, (name, os.strerror(-done))
    done = library.seccomp_load(context)
    assert done == 0, os.strerror(-done)


if __name__ == "__main__":
    install_filter(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
