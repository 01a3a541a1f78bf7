# SPDX-License-Identifier: Apache-2.0
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from imageapi.commands import main
from tests.deployment import Deployment


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The command sets logging up as an application does."""
    root, ours = logging.getLogger(), logging.getLogger("imageapi")
    before = root.level, root.handlers[:], ours.level
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    ours.setLevel(before[2])


@pytest.fixture
def run(deployment: Deployment) -> Any:
    """Run the command over the deployment's configuration."""
    return lambda *words: main.main(["--config-file", str(deployment.config_file), *words])
