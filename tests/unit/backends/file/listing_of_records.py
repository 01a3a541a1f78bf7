# SPDX-License-Identifier: Apache-2.0
"""Lists of a folder of records."""

from imageapi.backends.file.registry import FileRegistry
from imageapi.backends.listing import ListQuery
from imageapi.caller import ANONYMOUS

ALL = ListQuery(all_projects=True, shows_deleted=True)


def listed_ids(registry: FileRegistry, query: ListQuery = ALL) -> list[str]:
    return [image.id for image in registry.list(query, ANONYMOUS)]
