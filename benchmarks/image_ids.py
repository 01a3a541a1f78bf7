# SPDX-License-Identifier: Apache-2.0
"""Which images there are, and the paths by which imageapi has them."""

import random
import uuid

SMALL_SIZE = 1024
# A UUID, since Glance takes no other ids.
LARGE_ID = "1a26e000-0000-4000-8000-000000000000"


def image_ids(count: int) -> list[str]:
    """The ids of that many images; always the same ones."""
    chance = random.Random(1)
    return [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(count)]


#: The first of all small images.
(SMALL_ID,) = image_ids(1)


def path_of(image_id: str) -> str:
    """The path of an image."""
    return f"/v1/images/{image_id}"


def paths(records: int, count: int) -> list[str]:
    """That many paths of images, spread at random over the records."""
    ids = image_ids(records)
    return [path_of(image_id) for image_id in random.Random(2).choices(ids, k=count)]
