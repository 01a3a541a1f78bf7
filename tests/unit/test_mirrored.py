# SPDX-License-Identifier: Apache-2.0
"""Where unit tests are, and how helpers of tests are named."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

# Names that several modules of tests may define, with the reason.
MAY_REPEAT = {"main": "each program begins with it"}


def modules(package: str) -> Iterator[Path]:
    """The Python files of a package, from the package on."""
    return (path.relative_to(ROOT / package) for path in (ROOT / package).rglob("*.py"))


def has_tests(path: Path) -> bool:
    return path.exists() and "def test_" in path.read_text()


def test_each_module_has_its_unit_tests_at_the_mirrored_path() -> None:
    missing = {
        str(module)
        for module in modules("imageapi")
        if module.name != "__init__.py"
        and not has_tests(ROOT / "tests" / "unit" / module.with_name(f"test_{module.name}"))
    }
    assert missing == set()


def test_a_helper_has_a_name_of_its_own() -> None:
    """Share a helper that does the same; rename one that does not, or add it to MAY_REPEAT."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found: dict[str, set[str]] = {}
    for module in modules("tests"):
        for node in ast.parse((ROOT / "tests" / module).read_text()).body:
            if isinstance(node, definitions) and not node.name.startswith("test_"):
                found.setdefault(node.name, set()).add(str(module))
    repeated = {name: paths for name, paths in found.items() if len(paths) > 1}
    assert {name: paths for name, paths in repeated.items() if name not in MAY_REPEAT} == {}
