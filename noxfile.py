# SPDX-License-Identifier: Apache-2.0
"""The quick tests with each interpreter that imageapi supports: scripts/interpreters."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"
# An interpreter that is missing fails the command, else nobody would notice.
nox.options.error_on_missing_interpreters = True


@nox.session(python=["3.11", "3.12", "3.13"])
def quick_tests(session: nox.Session) -> None:
    """Run what comes after `--`, by default tests/unit and tests/contract."""
    session.install("--quiet", "--no-compile", "--requirement", "requirements-test.txt")
    session.install("--quiet", "--no-deps", "--no-build-isolation", "--editable", ".")
    arguments = session.posargs or ["tests/unit", "tests/contract"]
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *arguments)
