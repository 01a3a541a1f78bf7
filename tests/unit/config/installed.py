# SPDX-License-Identifier: Apache-2.0
"""The installed distributions acme-images and other-images, which provide stores."""

import importlib
from collections.abc import Mapping
from pathlib import Path

# Modules of a plugin that cannot be imported, and one that can.
MODULES = {
    "acme_good": "from imageapi.testing.fakes import MemoryStore",
    "acme_wants_client": "import acme_client",
    "acme_own": "import acme_own.typo",
    "acme_asserts": "assert False, 'a check at import'",
    "acme_leaves": "raise SystemExit(3)",
    "acme_syntax": "def",
}

_WRONG = "tests.unit.config.wrong_plugins"

# The names of the entry points of acme-images, and what they name.
TARGETS = {
    "absent": "acme_absent:Store",
    "nothing": "acme_good:Nothing",
    "asserts": "acme_asserts:Store",
    "leaves": "acme_leaves:Store",
    "own": "acme_own:Store",
    "client": "acme_wants_client:Store",
    "other": "acme_wants_client:Store [Other_Extra]",
    "extraless": "acme_wants_client:Store",
    "text": "acme_good:__name__",
    "function": f"{_WRONG}:function",
    "registry": "imageapi.backends.file.registry:FileRegistry",
    "abstract": f"{_WRONG}:Abstract",
    "later": f"{_WRONG}:Later",
    "textversion": f"{_WRONG}:TextVersion",
    "one": f"{_WRONG}:OneScheme",
    "loud": f"{_WRONG}:LoudSchemes",
    "none": f"{_WRONG}:NoSchemes",
    "demanding": f"{_WRONG}:Demanding",
    "clashing": f"{_WRONG}:Clashing",
    "repeating": f"{_WRONG}:Repeating",
    "buggy": f"{_WRONG}:Buggy",
    "buggyoptions": f"{_WRONG}:BuggyOptions",
    "leaving": f"{_WRONG}:Leaving",
    "late": f"{_WRONG}:Late [client]",
    "choosy": f"{_WRONG}:Choosy",
    "good": f"{_WRONG}:Good",
    "syntax": "acme_syntax:Store",
    "twice": f"{_WRONG}:Good",
}


def install(site: Path, distribution: str, entry_points: Mapping[str, str]) -> None:
    """Leave what an installer leaves of a distribution that brings these stores."""
    info = site / f"{distribution.replace('-', '_')}-1.5.dist-info"
    info.mkdir(exist_ok=True)
    lines = ["Metadata-Version: 2.1", f"Name: {distribution}", "Version: 1.5"]
    (info / "METADATA").write_text(
        "\n".join([*lines, "Provides-Extra: client", "Provides-Extra: other-extra", ""])
    )
    lines = [f"{name} = {target}" for name, target in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[imageapi.store]", *lines]))
    importlib.invalidate_caches()


def origin(name: str, distribution: str = "acme-images") -> str:
    """Return how a problem names an entry point."""
    return f"entry point imageapi.store {name} = {TARGETS[name]} of {distribution} 1.5"
