# SPDX-License-Identifier: Apache-2.0
from typing import Any

import testtools


def told_by(suite: Any, case: str, **members: Any) -> str:
    """Run one case of a suite; returns its errors and failures, empty if it succeeds.

    :param members: what the subclass of the suite defines.
    """
    subclass = type("Case", (suite, testtools.TestCase), members)
    result = testtools.TestResult()
    subclass(f"test_{case}").run(result)
    assert result.testsRun == 1
    return "\n".join(text for _, text in [*result.errors, *result.failures])
