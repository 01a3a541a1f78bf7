# SPDX-License-Identifier: Apache-2.0
import errno
import os
from typing import Any

import pytest


@pytest.fixture(params=["unnamed", "named"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With unnamed files, and as on a file system that has none."""
    if request.param == "named":
        real = os.open

        def open_without_tmpfile(path: Any, flags: int, *rest: Any, **how: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "not here", path)
            return real(path, flags, *rest, **how)

        monkeypatch.setattr(os, "open", open_without_tmpfile)
    return str(request.param)
