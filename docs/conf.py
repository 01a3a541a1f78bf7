# SPDX-License-Identifier: Apache-2.0
"""The settings of Sphinx, for scripts/docs."""

import importlib.metadata
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

ROOT = Path(__file__).parent.parent
REPOSITORY = "https://github.com/imageapi/imageapi/blob/main/"

project = "imageapi"
copyright = "the authors of imageapi"  # noqa: A001 - Sphinx's name
release = version = importlib.metadata.version("imageapi")

extensions = [
    "myst_parser",
    "oslo_config.sphinxext",
    "oslo_policy.sphinxext",
    "sphinx.ext.autodoc",
    "stevedore.sphinxext",
]
html_theme = "alabaster"
html_theme_options = {"description": "Images over the OpenStack Image API v1"}
html_show_copyright = False

# The pages link to headings as GitHub names them.
myst_heading_anchors = 4
# oslo.config's domain fails where the name is not one of its options.
myst_ref_domains = ["std", "py"]

autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": True}
# A name in single backquotes is a link where the reference has that name.
default_role = "py:obj"
# These have no page here: names of other projects, private names, type variables.  Each
# other name must have one.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!imageapi\b).*|imageapi\.(\w+\.)*(_\w+|[A-Z])"),
    # What a step yields is for the servers' side only.
    (r"py:class", r"imageapi\.download\.verified_stream\.Body"),
]


def link_to_repository(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Files outside of this folder are copied to the site; their folders and pages are not."""

    def replace(match: re.Match[str]) -> str:
        path, anchor = match[1], match[2] or ""
        if (ROOT / path).is_dir() or (path.endswith(".md") and (ROOT / path).is_file()):
            return f"]({REPOSITORY}{path}{anchor})"
        return match[0]

    source[0] = re.sub(r"\]\(\.\./([^)#\s]+)(#[^)\s]*)?\)", replace, source[0])


def find_promised_names(_app: Sphinx, env: BuildEnvironment) -> None:
    """Each name in the table of compatibility.md has an entry in the reference."""
    table = (ROOT / "docs" / "compatibility.md").read_text()
    known = env.domains.python_domain.objects
    for module, names in re.findall(
        r"^\| `(imageapi\.[\w.]+)`[^|]*\|([^|]*)\|", table, re.MULTILINE
    ):
        for name in re.findall(r"`(\w+)`", names):
            if f"{module}.{name}" not in known:
                logging.getLogger(__name__).warning(
                    "docs/reference/api.rst has no entry for %s.%s, which compatibility.md"
                    " promises",
                    module,
                    name,
                )


def setup(app: Sphinx) -> None:
    app.connect("env-check-consistency", find_promised_names)
    app.connect("source-read", link_to_repository)
