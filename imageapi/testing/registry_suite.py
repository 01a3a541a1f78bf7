# SPDX-License-Identifier: Apache-2.0
"""Test cases for every registry, for the tests of a plugin (see `imageapi.testing.suite`).

A subclass of `RegistrySuite` defines `make_registry`, `put` and
`make_unreachable`, and if possible `remove`.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial

from imageapi.backends.base import RegistryBackend
from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import BackendError, ImageNotFound
from imageapi.image import STATUSES, Image, Location
from imageapi.protocol.value_text import in_utc
from imageapi.testing.suite import BackendSuite

_ADMIN = Caller(user_id="admin", project_id="admin", roles=("admin",), is_admin=True)
# A careless registry confuses the others with the first.
_ODD_IDS = (
    *"suite SUITE .%2Fsuite suite%20 suite.json suite?x=1 suite#x suite&x=1;y suite+x".split(),
    *"%73uite * _____ ' \" \\ ~ . .. ..%2Fsuite %2F %2f \N{SNOWMAN} \N{GRINNING FACE}".split(),
    *"\N{LATIN SMALL LETTER E WITH ACUTE} e\N{COMBINING ACUTE ACCENT}".split(),
    *(" suite", "suite ", "suite x", "x" * 255),
)


class RegistrySuite(BackendSuite, mixin=True):
    """The methods that the author defines come first, and the cases below them.

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
        self.skipTest("not tested: define remove(image_id)")

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

    def setUp(self) -> None:
        super().setUp()
        self.registry = self.backend = self.closed_later(self.make_registry())

    def answers(self, image: Image, when: str = "") -> None:
        """Get a record that exists; it must equal this one."""
        what = f"get({image.id!r:.40}){when and f' {when}'}"
        got = self.works(what, lambda: self.registry.get(image.id, self.caller))
        self.same(image, got, what)

    def same(self, wanted: Image, got: Image, what: str) -> None:
        """Fail if an image is not the expected one, and name the fields that differ."""
        kind = type(got).__name__
        self.must(isinstance(got, Image), f"{what} must return an imageapi Image, not {kind}")
        differing = [
            f"{field.name} is {_shown(getattr(got, field.name))},"
            f" not {_shown(getattr(wanted, field.name))}"
            for field in fields(Image)
            if _comparable(getattr(got, field.name)) != _comparable(getattr(wanted, field.name))
        ]
        message = f"{what} must return the record as it was put, but {'; '.join(differing)}"
        self.must(not differing, message)

    def knows_not(self, image_id: str) -> Exception:
        """Get a record that does not exist; return the error."""
        what = f"get({image_id!r:.40}), which is not there,"
        return self.refused(what, lambda: self.registry.get(image_id, self.caller), ImageNotFound)

    # The cases.

    def test_known_record(self) -> None:
        image = self.full_image("suite")
        self.put(image)
        self.answers(image)
        self.answers(image)

    def test_least_record(self) -> None:
        image = Image(id="least", status="queued")
        self.put(image)
        self.answers(image)

    def test_other_records(self) -> None:
        """Every field differs from its default; some values look empty to careless code."""
        for image in filter(self.can_hold, _other_images()):
            self.put(image)
            self.answers(image)

    def test_unknown_id(self) -> None:
        self.knows_not("unknown")
        self.put(self.full_image("suite"))
        self.knows_not("unknown")

    def test_odd_ids_that_are_unknown(self) -> None:
        known, *unknown = _ODD_IDS
        self.put(self.full_image(known))
        for image_id in unknown:
            self.knows_not(image_id)

    def test_odd_ids_that_are_known(self) -> None:
        images = [
            replace(self.full_image(image_id), name=f"number {number}")
            for number, image_id in enumerate(filter(self.can_have, _ODD_IDS))
        ]
        for image in images:
            self.put(image)
        for image in images:
            self.answers(image)

    def test_replaced_record(self) -> None:
        image = self.full_image("suite")
        for name in ("first", "other", "again"):
            renamed = replace(image, name=name)
            self.put(renamed)
            self.answers(renamed, "after the record was replaced")

    def test_new_record(self) -> None:
        self.knows_not("suite")
        self.put(self.full_image("suite"))
        self.answers(self.full_image("suite"), "after the record that was missing was put")

    def test_removed_record(self) -> None:
        self.put(self.full_image("suite"))
        self.answers(self.full_image("suite"))
        self.remove("suite")
        self.knows_not("suite")

    def test_answers_every_caller(self) -> None:
        """The core decides who may know of an image, unless decides_visibility is set."""
        image = self.full_image("suite")
        self.put(image)
        for caller in (ANONYMOUS, Caller(user_id="other", project_id="other"), _ADMIN):
            what = f"get() of a private image for {caller}"
            got = self.tried("get()", partial(self.registry.get, image.id, caller))
            if not isinstance(got, BackendError):
                self.same(image, got, what)
            elif not (self.registry.decides_visibility and isinstance(got, ImageNotFound)):
                self.fail(f"{what} raised {got!r}: let the core decide, or set decides_visibility")

    def test_upstream_out_of_reach(self) -> None:
        registry = self.make_unreachable()
        if registry is not None:
            self.closed_later(registry)
            self.out_of_reach("get()", lambda: registry.get("suite", self.caller))

    def test_leaves_no_descriptors_open(self) -> None:
        image = self.full_image("suite")
        self.put(image)
        self.leaks_nothing("get()", lambda: self.answers(image))
        self.leaks_nothing("get() of an unknown id", lambda: self.knows_not("unknown"))

    def test_ten_threads(self) -> None:
        images = [replace(self.full_image(f"suite-{n}"), name=f"number {n}") for n in range(3)]
        for image in images:
            self.put(image)

        def get(number: int) -> None:
            for turn in range(10):
                self.answers(images[(number + turn) % len(images)])
                self.knows_not(f"unknown-{number}")

        self.in_threads(get)

    def test_after_a_fork(self) -> None:
        image = self.full_image("suite")
        self.put(image)
        self.in_child(lambda: self.answers(image))

    def test_shows_no_secret(self) -> None:
        image = self.full_image("suite")
        self.put(image)
        self.answers(image)
        self.keeps_secrets({"the registry": self.registry, "an error": self.knows_not("unknown")})


def _other_images() -> Iterator[Image]:
    for status in sorted(STATUSES):
        yield Image(id=f"suite-{status}", status=status)
    day = datetime(2012, 2, 3, 9, 34, 1, tzinfo=UTC)
    yield Image(id="suite-flag", status="active", deleted=True, deleted_at=day)
    yield Image(id="suite-public", status="active", is_public=True)
    yield Image(id="suite-zero", status="active", size=0, virtual_size=0, name="")
    yield Image(
        id="suite-values",
        status="active",
        properties={
            "Mixed_Case": "x",
            "mixed_case": "y",
            "blank ": " z ",
            "number": 5,
            "fraction": 1.5,
            "yes": True,
            "list": [1, {"deep": None}],
        },
    )


def _shown(value: object) -> str:
    """A field's value for a failure message; these made-up locations hold no secret."""
    if isinstance(value, tuple):
        return repr([(one.url, one.store) for one in value if isinstance(one, Location)])
    return repr(value)


def _comparable(value: object) -> object:
    """A field's value for comparison: times in UTC, as a naive time is."""
    return in_utc(value) if isinstance(value, datetime) else value
