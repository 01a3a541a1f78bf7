# SPDX-License-Identifier: Apache-2.0
"""The base of the suites: how a plugin's author uses a suite, and helpers.

::

    class TestMyStore(StoreSuite, testtools.TestCase):
        def make_store(self) -> MyStore:
            self.folder = self.enterContext(tempfile.TemporaryDirectory())
            return build(MyStore, directory=self.folder)
        ...

A suite is a mixin and not a TestCase, so that neither pytest nor unittest runs
it in modules that only import it.  A subclass has testtools.TestCase as its
second base.  The methods that a subclass must define raise NotImplementedError
here, with a text that says what they must do.
"""

import contextlib
import threading
import time
import unittest
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from oslo_config import cfg

from imageapi.backends.base import Backend
from imageapi.caller import Caller
from imageapi.errors import BackendError, BackendUnavailable, ConfigurationError
from imageapi.protocol.value_text import CONTROL
from imageapi.testing.concurrency import (
    Act,
    Child,
    packages_of,
    problem_in_threads,
    problem_of,
    problem_when_interrupted,
)
from imageapi.testing.observed import descriptors, open_files, upstream_asked

if TYPE_CHECKING:
    import testtools

    _TestCase = testtools.TestCase
else:
    _TestCase = object

B = TypeVar("B", bound=Backend)
T = TypeVar("T")

#: What `build` sets [imageapi] chunk_size to.
CHUNK_SIZE = 4096

_GROUP = "imageapi_suite"
# Seconds in which a thread that was told to end must have ended.
_PATIENCE = 10
# Seconds, after which a thread is said to hang.
_LONGEST = 30
# The number of descriptors that a pool may keep open, however often it is used.
_FEW_DESCRIPTORS = 10


def build(backend: type[B], **options: object) -> B:
    """Create a backend from a new configuration.

    :param options: values of the backend's options; others keep their defaults.
    :raises ConfigurationError: a required option has no value, or there is no such option.
    """
    conf = cfg.ConfigOpts()
    # Called before the options are registered, or it would complain of required ones.
    conf([], default_config_files=[], default_config_dirs=[])
    conf.register_opt(cfg.IntOpt("chunk_size", default=CHUNK_SIZE), group="imageapi")
    left = dict(options)
    required = _give(conf, {_GROUP: backend.options()}, left)
    required += _give(conf, backend.dependent_options(conf, _GROUP), left)
    for name in left:
        known = f"its options are {', '.join(sorted(conf[_GROUP]))}"
        problem = f"build({backend.__name__}): there is no option {name!r}; {known}"
        raise ConfigurationError([problem])
    for group, name in required:
        if not conf[group][name]:
            raise ConfigurationError([f"build({backend.__name__}) needs {name}=..."])
    return backend(conf, _GROUP)


def _give(
    conf: cfg.ConfigOpts, sections: Mapping[str, Sequence[cfg.Opt]], values: dict[str, object]
) -> list[tuple[str, str]]:
    """Register options, and set their values, which are removed from ``values``.

    :returns: the section and name of each required option.
    """
    required = []
    for group, options in sections.items():
        conf.register_opts(options, group=group)
        for option in options:
            if option.dest in values:
                conf.set_override(option.dest, values.pop(option.dest), group=group)
            if option.required:
                required.append((group, option.dest))
    return required


class BackendSuite(_TestCase):
    """Cases for every backend, and helpers for the other cases.

    :cvar secrets: strings that the backend knows and must not show.
    :cvar caller: the caller of every request; its token must not be shown either.
    :cvar moments: at how many of the calls that the backend makes a thread is interrupted by
        another one.  Fewer are faster if each use of the backend is slow, and prove less.
    :ivar backend: the backend under test in this case.
    """

    backend: Backend
    secrets: Sequence[str] = ()
    moments = 150
    caller = Caller(
        user_id="suite-user",
        project_id="suite-project",
        roles=("member",),
        token="suite-token",  # noqa: S106 - made up  # nosec B106
    )

    def __init_subclass__(cls, *, mixin: bool = False) -> None:
        """Refuse a class whose cases would not run, or would run without setUp().

        :param mixin: True for a class that is not a TestCase itself.
        """
        super().__init_subclass__()
        order = [base for base in cls.__mro__ if base in (BackendSuite, unittest.TestCase)]
        if not mixin and order != [BackendSuite, unittest.TestCase]:
            wanted = f"class {cls.__name__}(SUITE, testtools.TestCase)"
            raise TypeError(f"write {wanted}, the suite first")
        if isinstance(cls.secrets, str):
            raise TypeError(f"{cls.__name__}.secrets must be a list of strings, not one string")

    def make_unreachable(self) -> Any:
        """Create a backend with an unreachable upstream; None if it has no upstream."""
        raise NotImplementedError

    def test_check_is_content(self) -> None:
        said = self.works("check()", self.backend.check)
        self.must(type(said) is str, "check() must return a str, which may be empty, or raise")
        self.must(not CONTROL.search(said), "the text of check() must be one line")
        self.keeps_secrets({"what check() says": said})

    def test_close_twice(self) -> None:
        self.works("close()", self.backend.close)
        self.works("a second close()", self.backend.close)

    def test_constructor_does_no_io(self) -> None:
        open_before, threads_before = descriptors(), threading.active_count()
        with upstream_asked() as asked:
            try:
                backend = self.works("the constructor", self.unreachable)
            except ConfigurationError as error:
                self.fail(f"the constructor must not contact its upstream, but raised: {error}")
        if backend is not None:
            self.must(
                descriptors() <= open_before and threading.active_count() <= threads_before,
                "the constructor opened descriptors or started threads, which do not survive a"
                " fork: do so at the first use, under a lock",
            )
            self.must(not asked, f"the constructor must not contact its upstream: it did {asked}")

    def test_check_tells_what_is_wrong(self) -> None:
        backend = self.unreachable()
        if backend is not None:
            error = self.refused("check() with an unreachable upstream", backend.check)
            self.must(str(error) != "", "check() must tell the operator what is wrong")
            self.keeps_secrets({"the error of check()": error})

    def unreachable(self) -> Backend | None:
        """Return the backend of `make_unreachable`, which is closed after the case."""
        backend: Backend | None = self.make_unreachable()
        return None if backend is None else self.closed_later(backend)

    def closed_later(self, backend: B) -> B:
        """Return a backend, and close it after the case; an error in close() is ignored."""

        def close() -> None:
            # Its error would hide the failure of the case.
            with contextlib.suppress(Exception):
                backend.close()

        self.addCleanup(close)
        return backend

    def works(self, what: str, act: Callable[[], T]) -> T:
        """Call what must not raise; if it raises, fail with a message on how to mend it."""
        try:
            return act()
        except (NotImplementedError, ConfigurationError, self.failureException):
            # Its text already says what the author must define or correct.
            raise
        except BackendError as error:
            message = f"{what} must work here, but raised {type(error).__name__}: {error}"
            raise self.failureException(message) from error
        except Exception as error:
            self._foreign(what, error)

    def tried(self, what: str, act: Callable[[], T]) -> T | BackendError:
        """Call what may raise only a BackendError, and return the result or that error."""
        try:
            return act()
        except BackendError as error:
            return error
        except self.failureException:
            raise
        except Exception as error:
            self._foreign(what, error)

    def must(self, condition: bool, message: str) -> None:
        """Fail with just this message if the condition is false."""
        if not condition:
            self.fail(message)

    def refused(
        self, what: str, act: Callable[[], object], *kinds: type[BackendError]
    ) -> BackendError:
        """Call what must raise one of these kinds, or any BackendError; return the error."""
        wanted = " or ".join(kind.__name__ for kind in kinds) or "a BackendError"
        answer = self.tried(what, act)
        if not isinstance(answer, BackendError):
            self.fail(f"{what} must raise {wanted} at once, but returned {type(answer).__name__}")
        if not isinstance(answer, kinds or BackendError):
            message = f"{what} must raise {wanted}, not {type(answer).__name__}: {answer}"
            raise self.failureException(message) from answer
        return answer

    def out_of_reach(self, what: str, act: Callable[[], object]) -> None:
        """Call what must raise BackendUnavailable, and not an error for missing things."""
        what = f"{what} with an unreachable upstream"
        error = self.refused(what, act, BackendUnavailable)
        self.keeps_secrets({f"the error of {what}": error})

    def keeps_secrets(self, things: Mapping[str, object], *more: str) -> None:
        """Fail if str() or repr() of a thing shows a secret, or one of ``more``."""
        secrets = [*self.secrets, *filter(None, [self.caller.token]), *more]
        for name, thing in things.items():
            for show, text in (("str()", str(thing)), ("repr()", repr(thing))):
                for number, secret in enumerate(secrets):
                    what = f"{show} of {name} shows secret number {number}"
                    self.must(secret not in text, f"{what}: leave it out")

    def leaks_nothing(self, what: str, act: Callable[[], object]) -> None:
        """Fail if calling this often leaves descriptors open, even while results are kept."""
        kept = [act() for _ in range(5)]
        before = descriptors()
        kept += [act() for _ in range(50)]
        left = descriptors() - before
        message = f"{what} 50 times left {left} descriptors open: close each"
        self.must(left < _FEW_DESCRIPTORS, message)

    def closes_all(self, use: Callable[[], object]) -> None:
        """Use the backend in three threads, and close it; fail if it leaves anything open."""
        before, threads = open_files(), frozenset(threading.enumerate())
        use()
        for _ in range(2):
            self.in_thread(use)
        self.works("close()", self.backend.close)

        def left() -> list[str]:
            files = [leads_to for _, leads_to in open_files() - before]
            return sorted(files) + [t.name for t in threading.enumerate() if t not in threads]

        # A thread that has ended its work still lives for a moment.
        self.soon(lambda: not left())
        mend = "close what each thread opened, and end the threads"
        self.must(not left(), f"close() of the backend left {', '.join(left())}: {mend}")

    def soon(self, condition: Callable[[], bool]) -> bool:
        """Whether something becomes true within some seconds."""
        end = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def in_thread(self, act: Callable[[], object]) -> None:
        """Call this in another thread, and wait for its end; raise the failure that it raises."""
        failures: list[BaseException] = []

        def run() -> None:
            try:
                act()
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(_LONGEST)
        self.must(not thread.is_alive(), "it hangs in another thread: is a lock never released?")
        if failures:
            raise failures[0]

    def in_threads(self, act: Callable[[int], object]) -> None:
        """Call this in ten threads at once, with their numbers; fail if one fails or hangs.

        The threads run in a forked child.  If it dies, the other cases still run.
        """
        message = problem_in_threads(act)
        self.assertEqual("", message, "it fails when ten threads use it at once: lock shared state")

    def interleaved(self, prepare: Callable[[], tuple[Act, Act]], mend: str) -> None:
        """Call one function, and another one in another thread within it; fail if one fails.

        It is repeated for each call that the backend makes in the first function.  All
        this is in a forked child.  If it dies, the other cases still run.

        :param prepare: returns the two functions.
        :param mend: begins the message: what the backend must do.
        """
        packages = packages_of(self.backend)
        problem = problem_when_interrupted(packages, self.moments, prepare)
        self.must(not problem, f"{mend}. {problem}")

    def in_child(self, act: Callable[[], object]) -> None:
        """Call this in a forked child and here at once; fail if either fails or hangs."""
        child = Child(lambda: problem_of(act))
        own_problem = problem_of(act)
        message = child.problem()
        self.assertEqual("", own_problem, "it fails in the parent when a forked child uses it too")
        problem = "created before a fork, it fails or hangs in the child"
        self.assertEqual("", message, f"{problem}: open nothing before first use")

    def not_proved(self, what: str) -> NoReturn:
        """Skip the case; the reason says what the author must define to prove something."""
        self.skipTest(f"not proved: {what}")
        raise AssertionError("skipTest() raises")

    def _foreign(self, what: str, error: Exception) -> NoReturn:
        message = (
            f"{what} raised {type(error).__name__}: {error}; a backend raises only the"
            " BackendErrors of imageapi.errors"
        )
        raise self.failureException(message) from error
