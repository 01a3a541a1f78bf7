# SPDX-License-Identifier: Apache-2.0
"""Images for Glance's tables."""

from datetime import UTC, datetime
from typing import Any

from imageapi.image import Image, Location

LOCATION = Location("file:///images/one", "fast")


def stored(image_id: str = "one", **values: Any) -> Image:
    """An image of project p that is shared with nobody."""
    usual: dict[str, Any] = {
        "status": "active",
        "owner": "p",
        "created_at": datetime(2010, 2, 3, tzinfo=UTC),
        "updated_at": datetime(2011, 2, 3, tzinfo=UTC),
        "locations": (LOCATION,),
    }
    return Image(id=image_id, **(usual | values))
