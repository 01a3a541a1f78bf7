# SPDX-License-Identifier: Apache-2.0
"""Calls tempest's clients of v1, in an environment of their own, and prints what they return.

Its arguments are the URL of the API with its version, the token, and the id of an image.
"""

import json
import sys
from typing import Any

from tempest.lib import exceptions as errors  # type: ignore[import-not-found, unused-ignore]  # in another venv
from tempest.lib.services.image.v1.image_members_client import (  # type: ignore[import-not-found, unused-ignore]  # as above
    ImageMembersClient,
)
from tempest.lib.services.image.v1.images_client import (  # type: ignore[import-not-found, unused-ignore]  # as above
    ImagesClient,
)


class TokenOnly:
    """Sends a token, and takes the URL from the command line instead of a catalogue."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token

    def auth_request(
        self, method: str, url: str, headers: Any = None, body: Any = None, filters: Any = None
    ) -> tuple[str, dict[str, str], Any]:
        return f"{self._url}/{url}", {**(headers or {}), "X-Auth-Token": self._token}, body

    def get_auth(self) -> tuple[str, None]:
        return self._token, None

    def __getattr__(self, name: str) -> Any:
        return lambda *given, **named: None


def main(url: str, token: str, image_id: str) -> None:
    provider = TokenOnly(url, token)
    images = ImagesClient(provider, "image", "region")
    members = ImageMembersClient(provider, "image", "region")
    try:
        images.list_images(limit="none")
        refused = ""
    except errors.BadRequest as error:
        refused = str(error)
    told = {
        "list": [one["id"] for one in images.list_images(limit=3)["images"]],
        "filtered": images.list_images(detail=True, container_format="ovf")["images"],
        "changed": images.list_images(changes_since="2010-01-01")["images"],
        "status": images.check_image(image_id).response["x-image-meta-status"],
        "bytes": len(images.show_image(image_id).data),
        "members": members.list_image_members(image_id)["members"],
        "shared": members.list_shared_images("p3")["shared_images"],
        "refused": refused,
    }
    sys.stdout.write(json.dumps(told))


main(*sys.argv[1:])
