# SPDX-License-Identifier: Apache-2.0
"""What the access log shows of a request's query and Range: no secret, and no forged line."""

import re
from urllib.parse import quote, unquote_plus

from imageapi.listing.parameters import NAMES

#: Stands for a parameter or a value that is not shown.
HIDDEN = "***"

_LONGEST_RANGE = 200

# All that may stand in a query, and what many clients send though it may not.  A double
# quote, a space, a backslash and bytes beyond ASCII are percent-encoded.
_QUERY_SAFE = "!#$%&'()*+,/:;<=>?@[]^`{|}"

_NOT_IN_RANGE = re.compile(r"[^0-9A-Za-z=,* -]")

_PROPERTY = "property-"
_SECRET = re.compile(r"auth|cred|key|pass|secret|sig|token", re.IGNORECASE)


def shown_query(query: str) -> str | None:
    """Return a query for the log; None if it is empty.

    A parameter that the API does not know is hidden, because it may be a token.  So is the
    value of a property whose name looks like that of a secret.

    :param query: percent-encoded, without the question mark.
    """
    words = re.split("([&;])", query)
    words[::2] = [_shown_parameter(word) for word in words[::2]]
    return "".join(words) or None


def _shown_parameter(word: str) -> str:
    name, equals, _ = word.partition("=")
    plain = unquote_plus(name)
    if not word or plain in NAMES or word == "format=json":
        return _ascii(word)
    if not plain.startswith(_PROPERTY):
        return HIDDEN
    return _ascii(f"{name}{equals}{HIDDEN}" if _SECRET.search(plain) else word)


def _ascii(text: str) -> str:
    return quote(text.encode("latin-1", "replace"), safe=_QUERY_SAFE)


def shown_range(value: str | None) -> str | None:
    """Return the value of a header Range for the log; None if there is none.

    A long one is cut, and characters that no Range has are replaced.
    """
    return value and _NOT_IN_RANGE.sub("?", value[:_LONGEST_RANGE])
