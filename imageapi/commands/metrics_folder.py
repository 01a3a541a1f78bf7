# SPDX-License-Identifier: Apache-2.0
"""The folder in which the processes of ``serve`` count for Prometheus."""

import logging
import os
import shutil
import tempfile

from imageapi.commands.serve_settings import ServeSettings

LOG = logging.getLogger(__name__)

#: prometheus_client reads it when it is imported, and at each new file.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def makes_folder(settings: ServeSettings) -> bool:
    """Whether ``serve`` makes a temporary folder, because the environment names none."""
    return settings.metrics_bind is not None and VARIABLE not in os.environ


class MetricsFolder:
    """The folder that the environment names, or else a temporary one, until ``close()``."""

    def __init__(self) -> None:
        """Name a temporary folder in the environment, unless the environment names a folder."""
        self._owner = os.getpid()
        self._is_temporary = VARIABLE not in os.environ
        if self._is_temporary:
            self._make_temporary()

    def _make_temporary(self) -> None:
        os.environ[VARIABLE] = tempfile.mkdtemp(prefix="imageapi-metrics-")

    def mend(self) -> None:
        """Create the folder again if it was removed, for processes that start after this.

        A temporary folder gets a new name: somebody else may have taken the old one.
        """
        folder = os.environ[VARIABLE]
        if os.path.isdir(folder) and not (self._is_temporary and not _is_own(folder)):
            return
        try:
            if self._is_temporary:
                self._make_temporary()
            else:
                os.makedirs(folder)
        except OSError as error:
            LOG.error("metrics: %s was removed, and no folder can be created: %s", folder, error)
        else:
            LOG.warning("metrics: %s was removed; all counts begin at 0 again", folder)

    def close(self) -> None:
        """Remove a temporary folder; workers, which are forked, leave it."""
        if self._is_temporary and os.getpid() == self._owner:
            shutil.rmtree(os.environ.pop(VARIABLE, ""), ignore_errors=True)


def _is_own(folder: str) -> bool:
    return os.stat(folder).st_uid == os.geteuid()
