"""Records as JSON documents in the rows of a table."""

import logging
from collections.abc import Generator, Iterable, Iterator

from imageapi import document
from imageapi.backends.base import RegistryBackend
from imageapi.backends.listing import ListQuery
from imageapi.caller import Caller
from imageapi.errors import ImageNotFound, MalformedImage
from imageapi.image import Image
from imageapi_sqlite.database import InDatabase, count_of, row_of, rows_of

LOG = logging.getLogger(__name__)


class SQLiteRegistry(InDatabase, RegistryBackend):
    can_list = True

    def get(self, image_id: str, caller: Caller) -> Image:
        row = row_of(self._path, "SELECT document FROM records WHERE image_id = ?", image_id)
        if row is None:
            raise ImageNotFound("no such record")
        return document.parse(row[0].encode(), image_id)

    def list(self, query: ListQuery, caller: Caller) -> Generator[Image, None, None]:
        ids = (row[0] for row in rows_of(self._path, "SELECT image_id FROM records"))
        places = map(query.position, self._matching(query, ids, caller))
        # The last item of a position is the id.
        in_order = sorted(filter(query.is_after, places), reverse=query.descending)
        yield from self._matching(query, (place[-1] for place in in_order), caller)

    def _matching(self, query: ListQuery, ids: Iterable[str], caller: Caller) -> Iterator[Image]:
        matches = query.matching()
        for image_id in ids:
            try:
                image = self.get(image_id, caller)
            except ImageNotFound:
                continue  # It was removed meanwhile.
            except MalformedImage as error:
                LOG.warning("image %r is left out of a list: %s", image_id, error)
                continue
            if matches(image):
                yield image

    def check(self) -> str:
        return count_of(self._path, "records")
