# SPDX-License-Identifier: Apache-2.0
"""The section of the cache -> the cache."""

from collections.abc import Collection, Sequence

from oslo_config import cfg

from imageapi.backends.file.folder import configured_folder
from imageapi.cache.folder import CacheFolder
from imageapi.cache.settings import CacheSettings
from imageapi.config.validation import Sections
from imageapi.errors import ConfigurationError

GROUP = "imageapi_cache"

OPTIONS = (
    cfg.StrOpt(
        "directory",
        help="The folder of the cache, on a local file system. If unset, there is no cache. All"
        " services on this host that may use the same images can share it.",
    ),
    cfg.IntOpt(
        "max_size",
        default=10 * 1024**3,
        min=1,
        help="Maximum size of all data in the cache, in bytes. Data that was used least recently"
        " is removed for new data, unless it is being read.",
    ),
    cfg.IntOpt(
        "min_free",
        default=0,
        min=0,
        help="How many bytes of the file system the cache leaves free.",
    ),
    cfg.ListOpt(
        "stores",
        help="The names of the stores whose data is kept. If unset, these are all stores but"
        " those with the driver file.",
    ),
)


def register(sections: Sections) -> bool:
    """Register the options; return whether all of their values can be used."""
    return not sections.register(GROUP, OPTIONS)


def settings_of(
    conf: cfg.ConfigOpts, drivers: Collection[tuple[str, str]], sections: Sections
) -> CacheSettings | None:
    """Return the configured cache; None if there is none.

    :param drivers: the name of each store, and the name of its driver.
    :param sections: gets the problems.
    """
    section = conf[GROUP]
    if section.directory is None:
        return None
    names = [name for name, _ in drivers]
    stores: Sequence[str] = [name for name, driver in drivers if driver != "file"]
    if section.stores is not None:
        stores = section.stores
        for name in stores:
            if name not in names:
                problem = f"stores: {name!r} is no store in [imageapi] stores: {', '.join(names)}"
                sections.add_problem(GROUP, problem)
    try:
        directory = configured_folder(conf, GROUP)
    except ConfigurationError as error:
        for problem in error.problems:
            sections.add_problem(GROUP, problem)
        return None
    folder = CacheFolder(directory, section.max_size, section.min_free)
    return CacheSettings(folder, frozenset(stores), conf.imageapi.chunk_size)
