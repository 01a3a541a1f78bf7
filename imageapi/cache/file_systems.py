# SPDX-License-Identifier: Apache-2.0
"""Which file systems are fit for the cache."""

import os

#: File systems that several hosts share.  Their locks and times cannot be relied on.
SHARED = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse.sshfs",
        "glusterfs",
        "gfs2",
        "lustre",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.ceph",
    }
)


def file_system_of(directory: str) -> str:
    """Return the type of the file system of a folder, as the kernel names it."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                mount, _, system = line.partition(" - ")
                if mount.split()[2] == wanted:
                    return system.split()[0]
    except (OSError, IndexError):
        pass
    return ""
