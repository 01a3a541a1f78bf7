# SPDX-License-Identifier: Apache-2.0
"""What the suite tells its user; tests/conformance has what it finds in wrong registries."""

from imageapi.testing.list_suite import ListSuite
from imageapi.testing.registry_suite import RegistrySuite


def test_one_class_can_have_both_suites() -> None:
    """No case of the one hides a case of the other."""
    own = {name for name in vars(RegistrySuite) if name.startswith("test_")}
    assert own
    assert not own & set(dir(ListSuite))
