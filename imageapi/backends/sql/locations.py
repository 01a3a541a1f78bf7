# SPDX-License-Identifier: Apache-2.0
"""The locations of a row, as Glance writes them: encrypted or not, with their metadata."""

import base64
import binascii
import json
import os
from typing import Any

from imageapi.errors import ConfigurationError, MalformedImage

_KEY_SIZES = (16, 24, 32)
_BLOCK = 16


class Encryption:
    """The key of a database's locations.  Glance encrypts with AES-CBC, without a MAC."""

    def __init__(self, key: str | None) -> None:
        """Prepare; without a key, locations are plain.

        :param key: Glance's ``metadata_encryption_key``; None if Glance has no such key.
        :raises ConfigurationError: the key has a wrong length, or cryptography is not installed.
        """
        self._cipher: Any = None
        if key is None:
            return
        secret = key.encode()
        if len(secret) not in _KEY_SIZES:
            raise ConfigurationError(
                [f"metadata_encryption_key must have 16, 24 or 32 bytes, not {len(secret)}"]
            )
        try:
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        except ImportError:
            raise ConfigurationError(
                ["metadata_encryption_key needs the package cryptography: install imageapi[sql]"]
            ) from None
        self._cipher = lambda start: Cipher(algorithms.AES(secret), modes.CBC(start))

    def url(self, value: object) -> str:
        """Return the URL of a location.

        :raises MalformedImage: it is no URL, or cannot be decrypted.  The text does not contain it.
        """
        if not isinstance(value, str) or not value:
            raise MalformedImage("a location must be a text")
        if "://" in value:
            return value
        url = "" if self._cipher is None else self._decrypted(value)
        if "://" not in url:
            raise MalformedImage(
                "a location is not a URL, or is encrypted with another key than the one in"
                " metadata_encryption_key"
            )
        return url

    def encrypted(self, url: str) -> str:
        """Return the value to write for a URL."""
        if self._cipher is None:
            return url
        text = url.encode() + b"\0"
        # Glance looks for the last NUL, so no other byte after the text may be one.
        text += b"\xff" * (-len(text) % _BLOCK)
        start = os.urandom(_BLOCK)
        encryptor = self._cipher(start).encryptor()
        data = start + encryptor.update(text) + encryptor.finalize()
        return base64.urlsafe_b64encode(data).decode()

    def _decrypted(self, value: str) -> str:
        try:
            data = base64.urlsafe_b64decode(value.encode("ascii"))
        except (ValueError, binascii.Error):
            return ""
        start, text = data[:_BLOCK], data[_BLOCK:]
        if not text or len(data) % _BLOCK:
            return ""
        decryptor = self._cipher(start).decryptor()
        plain: bytes = decryptor.update(text) + decryptor.finalize()
        # Random bytes without a NUL follow the last NUL, to fill the block.
        return plain.rpartition(b"\0")[0].decode(errors="replace")


def metadata_of(value: object) -> dict[str, Any]:
    """Return the metadata of a location, which Glance writes as JSON.

    :raises MalformedImage: it is no JSON object.
    """
    try:
        metadata = json.loads(value) if isinstance(value, str) and value else {}
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict | None) or metadata is None:
        raise MalformedImage("the metadata of a location must be a JSON object")
    return metadata
