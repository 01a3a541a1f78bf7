# SPDX-License-Identifier: Apache-2.0
"""Helpers that load the backends of a configuration file."""

from pathlib import Path

import pytest

import imageapi
from imageapi.config import plugins
from imageapi.errors import ConfigurationError


def load(tmp_path: Path, text: str) -> plugins.Backends:
    """Write the text to ``imageapi.conf``, and load the backends that it names."""
    path = tmp_path / "imageapi.conf"
    path.write_text(text)
    return plugins.load(imageapi.load_config([str(path)]))


def problems_of(tmp_path: Path, text: str) -> list[str]:
    """Return the problems for which such a configuration is refused."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    return list(caught.value.problems)
