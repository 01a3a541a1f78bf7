# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest

from imageapi.image import Image
from imageapi.visibility import Visibility


def test_default_is_known_to_no_project() -> None:
    nobody = Visibility()
    assert not nobody.is_public
    assert nobody.owner is None
    assert nobody.members == frozenset()


def test_image_tells_who_may_know_of_it() -> None:
    image = Image(id="i", status="deleted", owner="p", members=frozenset({"q"}), is_public=True)
    assert image.visibility == Visibility(
        is_public=True, is_deleted=True, owner="p", members=frozenset({"q"})
    )


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Visibility().is_public = True  # type: ignore[misc]  # it is frozen
