# SPDX-License-Identifier: Apache-2.0
"""Changes in a record's JSON document.  Everything that is not changed stays as it is."""

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from imageapi.document.parsing import V2_NAMES, parse
from imageapi.document.writing import record as record_of
from imageapi.errors import ImageAPIError
from imageapi.image import Image


def new_record(image: Image) -> bytes:
    """Return the record document of a new image.

    :raises MalformedImage: a value of the image is not possible in a record.
    """
    record = _dumped({"images": [record_of(image)]})
    parse(record, image.id)
    return record


def changed(
    record: bytes,
    image_id: str,
    fields: Mapping[str, Any],
    *,
    properties: Mapping[str, str] | None = None,
    removed_properties: Collection[str] = (),
) -> bytes:
    """Return a record with other values.

    ``updated_at`` becomes the present time.

    :param record: a document that `document.parse` accepts, of either shape.
    :param fields: new values by the names of the document's v1 shape; None removes the key.
    :param properties: properties to add or to replace.
    :raises MalformedImage: the record, or the changed record, is malformed.
    :raises ImageAPIError: there is no such property to remove, or in the v2 shape the name of
        a property is the name of a field, or the reverse.
    """
    parse(record, image_id)
    outer = json.loads(record.decode("utf-8-sig"))
    inner = _image_in(outer)
    is_v2 = "visibility" in inner
    if is_v2 and "members" in fields and isinstance(inner.get("members"), str):
        raise ImageAPIError("this record of the v2 shape has a property 'members': remove it first")
    now = datetime.now(UTC).isoformat(" ", "seconds").removesuffix("+00:00")
    for name, value in {**fields, "updated_at": now}.items():
        _set(inner, *(_in_v2(name, value) if is_v2 else (name, value)))
    if properties or removed_properties:
        _change_properties(inner, is_v2, properties or {}, removed_properties)
    new = _dumped(outer)
    parse(new, image_id)
    return new


def _image_in(outer: dict[str, Any]) -> dict[str, Any]:
    images = outer.get("images")
    inner: dict[str, Any] = outer
    if isinstance(images, list):
        inner = images[0]
    elif outer.keys() == {"image"}:
        inner = outer["image"]
    return inner


def _in_v2(name: str, value: Any) -> tuple[str, Any]:
    if name == "is_public":
        return "visibility", "public" if value else "private"
    return name, value


def _set(inner: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        inner.pop(name, None)
    else:
        inner[name] = value


def _change_properties(
    inner: dict[str, Any], is_v2: bool, new: Mapping[str, str], removed: Collection[str]
) -> None:
    if is_v2:
        properties = inner
        for name in {*new, *removed}:
            if name in V2_NAMES or (isinstance(inner.get(name), list) and name == "members"):
                raise ImageAPIError(f"{name!r} is no property in a record of the v2 shape")
    else:
        if inner.get("properties") is None:
            inner["properties"] = {}
        properties = inner["properties"]
    for name in removed:
        if name not in properties:
            raise ImageAPIError(f"there is no property {name!r}")
        del properties[name]
    properties.update(new)


def _dumped(outer: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(outer, ensure_ascii=False, indent=2).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which JSON can only escape
        return json.dumps(outer, indent=2).encode() + b"\n"
