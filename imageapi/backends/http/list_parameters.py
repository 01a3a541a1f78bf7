# SPDX-License-Identifier: Apache-2.0
"""What a list asks of the upstream, in the parameters of the Image API v1 or v2.

An upstream may find more images than a query describes, but never fewer.  So a
condition that it might not understand exactly is left out here, and is checked when
its images arrive.
"""

import re
from collections.abc import Iterable, Iterator
from enum import Enum
from urllib.parse import quote

from imageapi.backends.http_client.urls import Url
from imageapi.backends.listing import ListQuery
from imageapi.document.parsing import V2_NAMES

_V1 = re.compile(r".*/v1(\.[01])?/images")

# Larger numbers fail in some databases.
_MOST_BYTES = 2**63 - 1
_MOST_OF_A_NUMBER = 2**31 - 1

# No image was changed earlier.  MySQL promises no times before this one.
_EARLIEST = "1000-01-01T00:00:00Z"

# In characters, encoded.  Servers refuse longer URLs than about 8,000.
_LONGEST_CONDITIONS = 4000

# Glance takes these for a field, a method or a parameter, not for the name of a property.
_NO_PROPERTY = V2_NAMES | frozenset(
    """
    changes-since delete get id items iteritems keys limit marker member_status metadata
    properties registry save sort sort_dir sort_key tag to_dict update values
    """.split()
)
_PROPERTY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")


class Dialect(Enum):
    """The version of the Image API whose lists an upstream has."""

    V1 = "/detail"
    V2 = ""

    @property
    def path(self) -> str:
        """The path of the list, after the URL of the images."""
        return self.value


def dialect_of(endpoint: Url, suffix: str) -> Dialect | None:
    """Return how the upstream of an endpoint lists images; None if it cannot."""
    path = endpoint.path.rstrip("/")
    if path.endswith("/v2/images") and not suffix:
        return Dialect.V2
    if _V1.fullmatch(path) and suffix in ("", "?format=json"):
        return Dialect.V1
    return None


def conditions(query: ListQuery, dialect: Dialect) -> dict[str, str]:
    """Return the conditions of a query that the upstream evaluates, percent-encoded.

    They do not say whose images are listed, nor in which order.

    :returns: the values by parameter.
    """
    of_dialect = _in_v1 if dialect is Dialect.V1 else _in_v2
    asked: dict[str, str] = {}
    length = 0
    for name, value in (*_in_both(query, dialect), *of_dialect(query)):
        key, text = quote(name, safe=""), quote(value, safe="")
        length += len(key) + len(text)
        if length <= _LONGEST_CONDITIONS:
            asked[key] = text
    return asked


def _in_both(query: ListQuery, dialect: Dialect) -> Iterator[tuple[str, str]]:
    for name, texts in query.texts.items():
        if all(_is_understood(text, dialect) for text in texts):
            yield from _one_of(name, sorted(texts))
    for name, number in query.numbers.items():
        if number <= _MOST_OF_A_NUMBER:
            yield name, str(number)
    for name, size in (("size_min", query.size_min), ("size_max", query.size_max)):
        if size is not None and size <= _MOST_BYTES:
            yield name, str(size)
    if query.protected is not None:
        yield "protected", str(query.protected).lower()


def _one_of(name: str, texts: list[str]) -> Iterable[tuple[str, str]]:
    if len(texts) == 1:
        return [(name, f"eq:{texts[0]}" if ":" in texts[0] else texts[0])]
    # Glance does not remove the backslash before a quote.
    if any(not text or '"' in text or "\\" in text for text in texts):
        return []
    return [(name, "in:" + ",".join(f'"{text}"' for text in texts))]


def _in_v1(query: ListQuery) -> Iterator[tuple[str, str]]:
    for name, text in query.properties.items():
        if _PROPERTY.fullmatch(name) and _is_understood(text, Dialect.V1):
            yield f"property-{name}", text
    if query.changed_after is not None:
        yield "changes-since", f"{query.changed_after.isoformat()}Z"
    elif query.shows_deleted:
        # Without this parameter, no deleted images are listed.
        yield "changes-since", _EARLIEST


def _in_v2(query: ListQuery) -> Iterator[tuple[str, str]]:
    for name, text in query.properties.items():
        # Glance takes a name with this end for a bound.
        is_bound = name.endswith(("_min", "_max"))
        is_name = _PROPERTY.fullmatch(name) and name not in _NO_PROPERTY
        if is_name and not is_bound and _is_understood(text, Dialect.V2):
            yield name, text
    if query.changed_after is not None:
        yield "updated_at", f"gt:{query.changed_after.isoformat()}Z"


def _is_understood(text: str, dialect: Dialect) -> bool:
    """Whether the upstream finds an image by this text, if it has it.

    Glance's v1 fails at text beyond ASCII, and MySQL's older tables at text beyond
    16 bits.
    """
    highest = "\x7f" if dialect is Dialect.V1 else "\uffff"
    return text.isprintable() and max(text, default="") <= highest


def scope(
    query: ListQuery, dialect: Dialect, *, is_service: bool, is_admin: bool
) -> dict[str, str]:
    """Return the parameters that say whose images are listed.

    :param is_service: whether the upstream does not know who the caller is.
    :param is_admin: whether the caller is an admin.
    """
    sees_all = query.all_projects or (query.shared_with is not None and is_admin)
    if dialect is Dialect.V1:
        # Without is_public, v1 lists the private images of its own caller's project only.
        # It ignores is_public unless its caller is an admin.
        is_others = is_service and bool(query.project_id)
        return {"is_public": str(query.is_public)} if sees_all or is_others else {}
    if query.shared_with is not None:
        visibility = "shared"
    elif query.is_public or (is_service and not query.project_id and not sees_all):
        visibility = "public"
    else:
        visibility = "all" if sees_all else ""
    # Members who have not accepted an image may read it too.
    return {"member_status": "all", **({"visibility": visibility} if visibility else {})}
