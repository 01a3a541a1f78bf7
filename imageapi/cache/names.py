# SPDX-License-Identifier: Apache-2.0
"""The name of an image's data in the cache: it says which bytes the record wants."""

import hashlib
import re

# Nobody can make two data of which these hashes are equal.
_STRONG = re.compile(r"sha(224|256|384|512)|sha3_(224|256|384|512)|blake2[bs]")

_ALGORITHM = re.compile(r"[a-z0-9_-]{1,30}")
_DIGEST = re.compile(r"([0-9a-f]{2}){16,64}")

# The shape of all names: algorithm, digest, maybe a hash of the location, and the size.
_NAME = re.compile(r"[a-z0-9_]+\.[0-9a-f]+(\.[0-9a-f]{32})?\.([0-9]{1,19})")


def name_of(algorithm: str, digest: str, size: int, store: str, url: str) -> str | None:
    """Return the file name of data, which needs no encoding; None if it must not be kept.

    Two records share data only if they name it by a hash that nobody can forge.  Anyone can
    make two data with the same MD5, so such a name contains the store and location too.

    :param algorithm: the name of the hash in hashlib, as in the record.
    :param digest: in lower-case hexadecimal digits.
    :param size: of the data, in bytes.
    :param store: the name of the store.
    :param url: the URL of the location.
    """
    algorithm = algorithm.lower()
    if not _ALGORITHM.fullmatch(algorithm) or not _DIGEST.fullmatch(digest):
        return None
    algorithm = algorithm.replace("-", "_")
    if _STRONG.fullmatch(algorithm):
        return f"{algorithm}.{digest}.{size}"
    where = hashlib.sha256(f"{store}\0{url}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{algorithm}.{digest}.{where[:32]}.{size}"


def hash_in(name: str) -> tuple[str, str]:
    """Return the algorithm, as hashlib names it, and the digest that a name contains."""
    algorithm, digest, *_ = name.split(".")
    return algorithm, digest


def size_in(name: str) -> int | None:
    """Return the size in bytes that a name contains; None if it is no name of data."""
    match = _NAME.fullmatch(name)
    return None if match is None else int(match[2])
