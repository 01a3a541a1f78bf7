# SPDX-License-Identifier: Apache-2.0
"""Finds the keys of a record that nothing reads, and that may be misspelt."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from imageapi.image import Image

# The names of both shapes, and what the tables of docs/records.md list as ignored.
# "uri" is from the seed; a glance-registry sends "location_data".
_KNOWN = frozenset(
    """
    checksum container_format created_at deleted deleted_at direct_url disk_format file id
    is_public location location_data locations members min_disk min_ram name os_hash_algo
    os_hash_value os_hidden owner properties protected schema self size status stores tags
    updated_at uri virtual_size visibility
    """.split()
)

# The author of a record must not flood the log.
_MOST_NOTES = 10

# No name of a field is as long, even with one letter too many.
_LONGEST_NEAR = 1 + max(map(len, _KNOWN))


def unknown_keys(fields: Mapping[str, Any], *, is_v2: bool) -> tuple[str, ...]:
    """Return the keys that are not used.

    :param fields: the top level of a record.
    :param is_v2: whether it has Glance's flat shape.  There every other key is a custom
        property, so only those are returned that differ in one letter from a field's name.
    """
    others = [name for name in fields if name not in _KNOWN]
    return tuple(filter(_is_near_miss, others) if is_v2 else others)


def notes_of(image: Image) -> Sequence[str]:
    """Return a sentence for each unknown key of an image's record.

    After ten of them, one sentence counts the rest.
    """
    notes = [
        f"the record's key {key!r:.100} {_advice(key)}" for key in image.unknown_keys[:_MOST_NOTES]
    ]
    rest = len(image.unknown_keys) - _MOST_NOTES
    return [*notes, f"further unknown keys of the record: {rest}"] if rest > 0 else notes


def _advice(key: str) -> str:
    close = difflib.get_close_matches(key[:_LONGEST_NEAR].lower(), sorted(_KNOWN), 1, 0.75)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"is not the name of a field{hint}; correct it, or move it into the properties"


def _shortened(name: str) -> Iterator[str]:
    """Yield the name, and the name without each one of its letters."""
    yield name
    for place in range(len(name)):
        yield name[:place] + name[place + 1 :]


def _all_shortened(names: Iterable[str]) -> frozenset[str]:
    return frozenset(short for name in names for short in _shortened(name))


# Two names that differ in one letter are equal after each lost one.  This takes much less
# time than difflib, and a record may have thousands of properties.
_SHORTENED = _all_shortened(_KNOWN - {"id", "uri"})


def _is_near_miss(name: str) -> bool:
    if not 3 < len(name) <= _LONGEST_NEAR:
        return False
    return not _SHORTENED.isdisjoint(_shortened(name.lower()))
