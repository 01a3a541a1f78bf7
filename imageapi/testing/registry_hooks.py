# SPDX-License-Identifier: Apache-2.0
"""What an author defines for the suites of registries, and helpers for their cases."""

from dataclasses import fields, replace
from datetime import UTC, datetime

from imageapi.backends.base import RegistryBackend
from imageapi.image import Image, Location
from imageapi.protocol.value_text import in_utc
from imageapi.testing.suite import BackendSuite


class RegistryHooks(BackendSuite, mixin=True):
    """The methods that the author defines come first, and helpers for the cases below them.

    :ivar registry: the registry that `make_registry` created for this case.
    """

    def make_registry(self) -> RegistryBackend:
        """Create the registry; called once in each case, before anything else."""
        raise NotImplementedError("define make_registry(): it returns the registry under test")

    def put(self, image: Image) -> None:
        """Add a record to ``self.registry``, or replace the one with the same id."""
        raise NotImplementedError("define put(image): the registry then returns that image")

    def make_unreachable(self) -> RegistryBackend | None:
        """Create a registry with an unreachable upstream; None if it has no upstream."""
        raise NotImplementedError("define make_unreachable(): an unreachable registry, or None")

    def remove(self, image_id: str) -> None:
        """Remove a record."""
        self.not_proved("define remove(image_id)")

    def put_malformed(self, image_id: str) -> None:
        """Add a record with this id that `get` refuses as malformed."""
        self.not_proved("define put_malformed(image_id)")

    def can_have(self, image_id: str) -> bool:
        """Whether `put` can add a record with this id; an upstream may refuse odd ids."""
        return True

    def can_hold(self, image: Image) -> bool:
        """Whether `put` can store every field of this record; an upstream may have fewer."""
        return True

    def full_image(self, image_id: str) -> Image:
        """Return a private image with all fields; override it if the registry has fewer."""
        return Image(
            id=image_id,
            status="active",
            name="Suite \N{SNOWMAN}",
            disk_format="qcow2",
            container_format="bare",
            size=2**40,
            virtual_size=2**41,
            checksum="0123456789abcdef" * 2,
            created_at=datetime(2010, 2, 3, 9, 34, 1, tzinfo=UTC),
            updated_at=datetime(2011, 2, 3, 9, 34, 1, tzinfo=UTC),
            protected=True,
            min_ram=256,
            min_disk=5,
            owner="suite-project",
            properties={"distro": "Ubuntu \N{SNOWMAN}", "empty": ""},
            locations=(Location("suite://host/one"), Location("suite://host/two", "second")),
            members=frozenset({"one", "two"}),
            os_hash_algo="sha512",
            os_hash_value="0123456789abcdef" * 8,
        )

    # Helpers of the cases.

    def variant(self, image_id: str, number: int) -> Image:
        """Return `full_image` with other values; each number gives different ones."""
        image = self.full_image(image_id)
        more = f"-{number}"
        return replace(
            image,
            name=image.name and image.name + more,
            properties={key: f"{value}{more}" for key, value in image.properties.items()},
            locations=tuple(Location(one.url + more, one.store) for one in image.locations),
            members=frozenset(member + more for member in image.members),
        )

    def setUp(self) -> None:
        super().setUp()
        self.registry = self.backend = self.closed_later(self.make_registry())

    def same(self, wanted: Image, got: Image, what: str, but: frozenset[str] = frozenset()) -> None:
        """Fail if an image is not the expected one, and name the fields that differ.

        :param but: the names of fields that may differ.
        """
        kind = type(got).__name__
        self.must(isinstance(got, Image), f"{what} must return an imageapi Image, not {kind}")
        differing = [
            f"{field.name} is {_shown(getattr(got, field.name))},"
            f" not {_shown(getattr(wanted, field.name))}"
            for field in fields(Image)
            if field.name not in but
            and _comparable(getattr(got, field.name)) != _comparable(getattr(wanted, field.name))
        ]
        message = f"{what} must return the record as it was put, but {'; '.join(differing)}"
        self.must(not differing, message)


def _shown(value: object) -> str:
    """A field's value for a failure message; these made-up locations hold no secret."""
    if isinstance(value, tuple):
        return repr([(one.url, one.store) for one in value if isinstance(one, Location)])
    return repr(value)


def _comparable(value: object) -> object:
    """A field's value for comparison: times in UTC, as a naive time is."""
    return in_utc(value) if isinstance(value, datetime) else value
