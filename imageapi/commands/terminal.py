# SPDX-License-Identifier: Apache-2.0
"""Lines for the operator, on the terminal and in the log."""

import logging
import sys
from typing import TextIO

from imageapi.errors import BackendError, bug_in
from imageapi.protocol.value_text import CONTROL

LOG = logging.getLogger(__name__)


def tell(text: str, file: TextIO | None = None) -> None:
    """Print a line without control characters; escape what the terminal cannot show."""
    file = file or sys.stdout
    line = CONTROL.sub(" ", text).encode(file.encoding or "ascii", "backslashreplace")
    print(line.decode(file.encoding or "ascii"), file=file)


def complain(text: str) -> None:
    """Print what is wrong, on standard error."""
    tell(f"imageapi: {text}", sys.stderr)


def log_bug(error: BackendError) -> None:
    """Log the traceback of an exception that is a bug in a backend, for its author."""
    bug = bug_in(error)
    if bug is not None:
        LOG.error("%s", error, exc_info=bug)


def log_to_stderr(*, debug: bool) -> None:
    """Log imageapi from INFO on, or from DEBUG on; log only warnings of libraries.

    Debug logs of libraries contain whole URLs and headers, including secrets.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("imageapi").setLevel(logging.DEBUG if debug else logging.INFO)
