# SPDX-License-Identifier: Apache-2.0
"""The contract of a policy, and the image values on which it decides."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields

from imageapi.backends.base import Backend
from imageapi.caller import Caller
from imageapi.image import Image
from imageapi.protocol.value_text import text_of

#: May the caller know of the image?  Checked at every GET and HEAD, and for each image of
#: a list.
GET_IMAGE = "get_image"
#: May the caller have its data?  Checked at GET of the data, at HEAD of an active
#: image, and at GET of an absent image.  Not checked for details.
DOWNLOAD_IMAGE = "download_image"
#: May the caller list images?  Checked once for each list, with an empty target.
GET_IMAGES = "get_images"
#: May the caller list the members of an image?  Checked with the image's target.
GET_MEMBERS = "get_members"

# Locations may hold credentials, and a rule has no use for them.
_NOT_IN_TARGET = frozenset({"properties", "locations"})
_DERIVED: Mapping[str, Callable[[Image], object]] = {
    "members": lambda image: sorted(image.members),
    "project_id": lambda image: image.owner,
    "visibility": lambda image: "public" if image.is_public else "private",
}
_FIELDS = frozenset(field.name for field in fields(Image)) - _NOT_IN_TARGET - set(_DERIVED)


class PolicyBackend(Backend):
    """Decides which actions a caller may do."""

    @abstractmethod
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        """Whether the caller may do this.  Anything except True refuses.

        :param action: `GET_IMAGE`, `DOWNLOAD_IMAGE`, `GET_IMAGES` or `GET_MEMBERS`, or a name
            that `use_rules` got.
        :param target: the `Target` of the image, with the properties that the caller may
            read; empty if the image does not exist, if the caller may not know of it, for
            `GET_IMAGES`, and for names that `use_rules` got.
        :raises BackendUnavailable: the policy cannot decide for now; the client gets 503.
            Any other exception is a bug; it refuses.
        """

    def use_rules(self, names: Sequence[str]) -> Sequence[str]:
        """Learn which rules a property protection file names; called once, after creation.

        Later, `allows` is called with such a name as the action, and with an empty target.

        :param names: empty if the file names no rules.
        :returns: the names that this policy cannot decide; the configuration is then
            refused.  By default, it can decide none.
        """
        return names


class Target(Mapping[str, object]):
    """An image's fields and properties by name, for rules.

    A field or property without a value is absent, so that it cannot equal
    another missing value.  A property never replaces a field.  Times are
    strings, in UTC.  For rules written for Glance, ``project_id`` and
    ``visibility`` repeat ``owner`` and ``is_public``.  Values are looked up on
    demand, because most rules use one or none.
    """

    __slots__ = ("_image",)

    def __init__(self, image: Image) -> None:
        self._image = image

    def __getitem__(self, name: str) -> object:
        value = self._value(name)
        if value is None or value == "":
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        names = (*_FIELDS, *_DERIVED, *self._image.properties)
        return (name for name in dict.fromkeys(names) if self._value(name) not in (None, ""))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __deepcopy__(self, memo: object) -> dict[str, object]:
        # oslo.policy's http: checks copy the target before sending it.
        return copy.deepcopy(dict(self))

    def _value(self, name: str) -> object:
        image = self._image
        if name in _DERIVED:
            return _DERIVED[name](image)
        if name in _FIELDS:
            value = getattr(image, name)
            return value if isinstance(value, bool | int) else text_of(value)
        return None if name in _NOT_IN_TARGET else image.properties.get(name)
