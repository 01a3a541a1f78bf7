# SPDX-License-Identifier: Apache-2.0
"""Helpers of the suites for writers: what may be raised while something is written."""

from collections.abc import Callable
from typing import TypeVar

from imageapi.backends.writing import WriteError
from imageapi.errors import BackendError, ImageAPIError
from imageapi.testing.suite import BackendSuite

T = TypeVar("T")

#: Ids that a careless writer takes for the same.
ALIKE_IDS = (
    *"suite SUITE suite. .suite suite.img s%75ite suite+x suite2".split(),
    *("suite x", "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"),
)


class WritingHelpers(BackendSuite, mixin=True):
    """A writer raises `WriteError`, or a BackendError, and nothing else."""

    def attempted(self, what: str, act: Callable[[], T]) -> T | ImageAPIError:
        """Call what may raise only these errors, and return the result or that error."""
        try:
            return self.tried(what, act)
        except self.failureException as failure:
            if isinstance(failure.__cause__, WriteError):
                return failure.__cause__
            raise

    def writes(self, what: str, act: Callable[[], T]) -> T:
        """Call what must not raise."""
        result = self.attempted(what, act)
        if isinstance(result, ImageAPIError):
            message = f"{what} must work here, but raised {type(result).__name__}: {result}"
            raise self.failureException(message) from result
        return result

    def writes_not(
        self,
        what: str,
        act: Callable[[], object],
        *kinds: type[ImageAPIError],
    ) -> ImageAPIError:
        """Call what must raise one of these kinds, or any WriteError or BackendError."""
        wanted = " or ".join(kind.__name__ for kind in kinds) or "WriteError"
        result = self.attempted(what, act)
        if not isinstance(result, kinds or (WriteError, BackendError)):
            kind = type(result).__name__
            got = f"raised {kind}" if isinstance(result, ImageAPIError) else f"returned {kind}"
            self.fail(f"{what} must raise {wanted}, but {got}")
        self.keeps_secrets({f"the error of {what}": result})
        return result
