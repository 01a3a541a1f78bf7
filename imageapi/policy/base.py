# SPDX-License-Identifier: Apache-2.0
"""The contract of a policy, and what of an image it decides on."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from imageapi.backends.base import Backend
from imageapi.caller import Caller
from imageapi.image import Image
from imageapi.text import text_of

#: May the caller know of the image?  Asked of every request.
GET_IMAGE = "get_image"
#: May the caller have its data?
DOWNLOAD_IMAGE = "download_image"

# Locations may hold credentials, and a rule has no use for them.
_NOT_IN_TARGET = frozenset({"properties", "locations", "members"})
_FIELDS = tuple(field.name for field in fields(Image) if field.name not in _NOT_IN_TARGET)
# What rules written for Glance call the owner and is_public.
_ALIASES = frozenset({"project_id", "visibility"})
_RESERVED = _ALIASES.union(_FIELDS, _NOT_IN_TARGET)


class PolicyBackend(Backend):
    """Decides what a caller may do."""

    @abstractmethod
    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        """Whether the caller may do this.  Anything but True refuses, an exception too.

        :param action: `GET_IMAGE` or `DOWNLOAD_IMAGE`.
        :param target: what `target_of` says of the image; empty where there
            is none that the caller may know of.
        """


def target_of(image: Image) -> Mapping[str, object]:
    """An image's fields and properties by name, as rules see them.

    What has no value is absent, so that it cannot equal another missing
    value, and a property never takes the place of a field.  Times are texts,
    in UTC.  ``project_id`` and ``visibility`` say again, for rules written
    for Glance, what ``owner`` and ``is_public`` say.
    """
    target: dict[str, Any] = {
        key: value
        for key, value in image.properties.items()
        if key not in _RESERVED and value is not None
    }
    for name in _FIELDS:
        value = getattr(image, name)
        if value is not None and value != "":
            target[name] = value if isinstance(value, bool | int) else text_of(value)
    target["members"] = sorted(image.members)
    if image.owner:
        target["project_id"] = image.owner
    target["visibility"] = "public" if image.is_public else "private"
    return MappingProxyType(target)
