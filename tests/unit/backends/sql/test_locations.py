# SPDX-License-Identifier: Apache-2.0
import base64

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from imageapi.backends.sql.locations import Encryption, metadata_of
from imageapi.errors import ConfigurationError, MalformedImage

KEY = "0123456789abcdef"
URL = "swift+https://user:hunter2@host/container/one"


@pytest.mark.parametrize("size", [16, 24, 32])
def test_what_is_encrypted_can_be_read(size: int) -> None:
    encryption = Encryption("k" * size)
    value = encryption.encrypted(URL)
    assert "://" not in value
    assert value != encryption.encrypted(URL)
    assert encryption.url(value) == URL


@pytest.mark.parametrize("padding", [b"", b"\xff", b"abc\xfe", b"1" * 15])
def test_what_follows_the_last_nul_is_no_part_of_the_url(padding: bytes) -> None:
    """Glance fills the last block with random bytes that are not NUL."""
    text = URL.encode() + b"\0" + padding
    text += b"x" * (-len(text) % 16)
    start = bytes(range(16))
    encryptor = Cipher(algorithms.AES(KEY.encode()), modes.CBC(start)).encryptor()
    data = start + encryptor.update(text) + encryptor.finalize()
    assert Encryption(KEY).url(base64.urlsafe_b64encode(data).decode()) == URL


@pytest.mark.parametrize("key", [None, KEY])
def test_a_plain_url_stays_as_it_is(key: str | None) -> None:
    assert Encryption(key).url(URL) == URL
    assert Encryption(None).encrypted(URL) == URL


@pytest.mark.parametrize("key", [None, "f" * 16])
def test_a_location_under_another_key_is_malformed(key: str | None) -> None:
    value = Encryption(KEY).encrypted(URL)
    with pytest.raises(MalformedImage, match="metadata_encryption_key") as caught:
        Encryption(key).url(value)
    assert value not in str(caught.value)


@given(st.one_of(st.none(), st.text(), st.binary(), st.integers()))
def test_any_other_value_is_malformed(value: object) -> None:
    if isinstance(value, str) and "://" in value:
        return
    with pytest.raises(MalformedImage, match=r"\Aa location"):
        Encryption(KEY).url(value)


def test_a_key_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="16, 24 or 32 bytes, not 5"):
        Encryption("short")


@pytest.mark.parametrize(
    ("value", "metadata"), [(None, {}), ("", {}), ('{"store": "a"}', {"store": "a"})]
)
def test_metadata(value: str | None, metadata: dict[str, str]) -> None:
    assert metadata_of(value) == metadata


@pytest.mark.parametrize("value", ["{", "[]", "1", "[" * 100_000, "null"])
def test_metadata_that_is_no_object(value: str) -> None:
    with pytest.raises(MalformedImage, match="must be a JSON object"):
        metadata_of(value)
