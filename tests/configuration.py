# SPDX-License-Identifier: Apache-2.0
"""Load a configuration from a text."""

from collections.abc import Mapping
from pathlib import Path

import pytest

import imageapi
from imageapi.config import plugins
from imageapi.errors import ConfigurationError


def load(folder: Path, text: str) -> plugins.Backends:
    """Write a configuration file; returns its backends, for the test to close."""
    path = folder / "imageapi.conf"
    path.write_text(text)
    return plugins.load(imageapi.load_config([path]))


def problems_of(folder: Path, text: str) -> list[str]:
    """The problems for which a configuration is refused."""
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text)
    return list(caught.value.problems)


def option_lines(options: Mapping[str, object]) -> str:
    """The lines of a section of a configuration file."""
    return "\n".join(f"{name} = {value}" for name, value in options.items())
