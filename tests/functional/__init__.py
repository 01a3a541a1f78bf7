# SPDX-License-Identifier: Apache-2.0
import pytest

# Its assertions are to tell what they found, as those of tests do.
pytest.register_assert_rewrite("tests.functional.frameworks")
