# SPDX-License-Identifier: Apache-2.0
"""Test cases for every registry, for the tests of a plugin (see `imageapi.testing.suite`).

A subclass of `RegistrySuite` defines `make_registry`, `put` and
`make_unreachable`, and if possible `remove` and `put_malformed`.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from imageapi.caller import ANONYMOUS, Caller
from imageapi.errors import BackendError, BadReply, ImageNotFound, MalformedImage
from imageapi.image import STATUSES, Image
from imageapi.testing.registry_hooks import RegistryHooks

_ADMIN = Caller(user_id="admin", project_id="admin", roles=("admin",), is_admin=True)
# A careless registry confuses the others with the first.
_ODD_IDS = (
    *"suite SUITE .%2Fsuite suite%20 suite.json suite?x=1 suite#x suite&x=1;y suite+x".split(),
    *"%73uite * _____ ' \" \\ ~ . .. ..%2Fsuite %2F %2f \N{SNOWMAN} \N{GRINNING FACE}".split(),
    *"\N{LATIN SMALL LETTER E WITH ACUTE} e\N{COMBINING ACUTE ACCENT}".split(),
    *(" suite", "suite ", "suite x", "x" * 255),
)


class RegistrySuite(RegistryHooks, mixin=True):
    """The methods that the author defines are those of `RegistryHooks`.

    :ivar registry: the registry that `make_registry` created for this case.
    """

    # Helpers of the cases.

    def answers(self, image: Image, when: str = "") -> None:
        """Get a record that exists; it must equal this one."""
        what = f"get({image.id!r:.40}){when and f' {when}'}"
        got = self.works(what, lambda: self.registry.get(image.id, self.caller))
        self.same(image, got, what)

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
            self.variant(image_id, number)
            for number, image_id in enumerate(filter(self.can_have, _ODD_IDS))
        ]
        for image in images:
            self.put(image)
        for image in images:
            self.answers(image)

    def test_replaced_record(self) -> None:
        first, other = self.variant("suite", 1), self.variant("suite", 2)
        least = replace(first, properties={}, locations=(), members=frozenset())
        for image in (first, other, least, other):
            self.put(image)
            self.answers(image, "after the record was replaced")

    def test_malformed_record(self) -> None:
        image = self.variant("suite", 1)
        self.put(image)
        self.put_malformed("suite-malformed")
        get = partial(self.registry.get, "suite-malformed", self.caller)
        error = self.refused("get() of a malformed record", get, MalformedImage, BadReply)
        self.keeps_secrets({"the error of a malformed record": error})
        self.answers(image, "beside a malformed record")
        ids = self.registry.image_ids()
        self.must(
            ids is None or "suite-malformed" in list(ids),
            "image_ids() must yield the ids of malformed records too: 'verify' looks for them",
        )

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
        images = [self.variant(f"suite-{n}", n) for n in range(3)]
        for image in images:
            self.put(image)

        def get(number: int) -> None:
            for turn in range(10):
                self.answers(images[(number + turn) % len(images)])
                self.knows_not(f"unknown-{number}")

        self.in_threads(get)

    def test_two_threads_get_at_once(self) -> None:
        one, other = self.variant("suite-1", 1), self.variant("suite-2", 2)
        self.put(one)
        self.put(other)
        mend = (
            "two calls of get() must share nothing that changes, such as one cursor"
            " (open one for each call or thread, or use a lock)"
        )
        both = partial(self.answers, one), partial(self.answers, other)
        self.interleaved(lambda: both, mend)

    def test_close_of_the_registry_leaves_nothing_open(self) -> None:
        image = self.full_image("suite")
        self.put(image)

        def use() -> None:
            self.answers(image)
            self.knows_not("unknown")

        self.closes_all(use)

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
