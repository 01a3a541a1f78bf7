# SPDX-License-Identifier: Apache-2.0
import pytest
import testtools

from imageapi.image import Image
from imageapi.testing.fakes import MemoryRegistry
from imageapi.testing.registry_hooks import RegistryHooks
from imageapi.testing.suite import build


class Hooked(RegistryHooks, testtools.TestCase):
    """An author's class; no case is run."""

    def make_registry(self) -> MemoryRegistry:
        return build(MemoryRegistry)

    def make_unreachable(self) -> None:
        return None

    def runTest(self) -> None:  # noqa: N802 - unittest's name
        pass


def test_message_names_the_fields_that_differ() -> None:
    image = Image(id="i", status="active", name="x")
    other = Image(id="i", status="queued", name="x", size=1)
    with pytest.raises(
        AssertionError, match="but status is 'queued', not 'active'; size is 1, not"
    ):
        Hooked().same(image, other, "get()")


def test_fields_may_be_left_out() -> None:
    image = Image(id="i", status="active", name="x")
    Hooked().same(image, Image(id="i", status="active"), "list()", frozenset({"name"}))
