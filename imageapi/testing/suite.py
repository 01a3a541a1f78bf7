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
import functools
import os
import select
import signal
import sys
import threading
import traceback
import unittest
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from oslo_config import cfg

from imageapi.backends.base import Backend
from imageapi.caller import Caller
from imageapi.errors import BackendError, BackendUnavailable, ConfigurationError
from imageapi.protocol.value_text import CONTROL

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
_THREADS = 10
# Seconds, after which a thread or child is said to hang, for instance at a lock.
_PATIENCE = 30
# Audit events of Python that mean contact with an upstream.
_EVENTS_OF_UPSTREAMS = frozenset(
    "os.exec os.fork os.posix_spawn os.system socket.connect socket.getaddrinfo sqlite3.connect"
    " subprocess.Popen".split()
)
# Its ``events`` collects those of the thread, while it is not None.
_watched = threading.local()
# Audit hooks cannot be removed, so each is added only once.
_add_audit_hook = functools.cache(sys.addaudithook)
# The number of descriptors that a pool may keep open, however often it is used.
_FEW_DESCRIPTORS = 10


def build(backend: type[B], **options: object) -> B:
    """Create a backend from a new configuration.

    :param options: values of the backend's options; others keep their defaults.
    :raises ConfigurationError: a required option has no value.
    """
    conf = cfg.ConfigOpts()
    # Called before the options are registered, or it would complain of required ones.
    conf([], default_config_files=[], default_config_dirs=[])
    conf.register_opt(cfg.IntOpt("chunk_size", default=CHUNK_SIZE), group="imageapi")
    left = dict(options)
    required = _give(conf, {_GROUP: backend.options()}, left)
    required += _give(conf, backend.dependent_options(conf, _GROUP), left)
    for name, value in left.items():
        # The backend has no such option: this raises an error that says so.
        conf.set_override(name, value, group=_GROUP)
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
    :ivar backend: the backend under test in this case.
    """

    backend: Backend
    secrets: Sequence[str] = ()
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
        with _upstream_asked() as asked:
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

    def in_threads(self, act: Callable[[int], object]) -> None:
        """Call this in ten threads at once, with their numbers; fail if one fails or hangs."""
        barrier = threading.Barrier(_THREADS)
        problems: list[str] = []

        def run(number: int) -> None:
            barrier.wait(_PATIENCE)
            problems.append(_problem_of(lambda: act(number)))

        # Frequent thread switches reveal code that is not safe in threads.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE)
        self.assertEqual(_THREADS, len(problems), "a thread hangs: is a lock never released?")
        message = next(filter(None, problems), "")
        self.assertEqual("", message, "it fails when ten threads use it at once: lock shared state")

    def in_child(self, act: Callable[[], object]) -> None:
        """Call this in a forked child and here at once; fail if either fails or hangs."""
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            # Python warns of forks with threads, but the child uses no thread of the runner.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _report(writing, act)
        os.close(writing)
        try:
            own_problem = _problem_of(act)
            ready, _, _ = select.select([reading], [], [], _PATIENCE)
            told = os.read(reading, select.PIPE_BUF).decode(errors="replace") if ready else ""
            message = told or ("it died" if ready else "it hangs")
        finally:
            os.close(reading)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.assertEqual("", own_problem, "it fails in the parent when a forked child uses it too")
        problem = "created before a fork, it fails or hangs in the child"
        self.assertEqual("fine", message, f"{problem}: open nothing before first use")

    def _foreign(self, what: str, error: Exception) -> NoReturn:
        message = (
            f"{what} raised {type(error).__name__}: {error}; a backend raises only the"
            " BackendErrors of imageapi.errors"
        )
        raise self.failureException(message) from error


def descriptors() -> int:
    """Return the number of open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def _upstream_asked() -> Iterator[list[str]]:
    """Collect the audit events of this thread that mean contact with an upstream."""
    _add_audit_hook(_note_event)
    events: list[str] = []
    _watched.events = events
    try:
        yield events
    finally:
        _watched.events = None


def _note_event(event: str, _arguments: object) -> None:
    if event in _EVENTS_OF_UPSTREAMS and (events := getattr(_watched, "events", None)) is not None:
        events.append(event)


def _problem_of(act: Callable[[], object]) -> str:
    """Return the traceback of what this raises; empty if it raises nothing."""
    try:
        act()
    except Exception:
        return traceback.format_exc()
    return ""


def _report(writing: int, act: Callable[[], object]) -> NoReturn:
    """Report the result through a pipe, and end this process."""
    try:
        text = _problem_of(act) or "fine"
        os.write(writing, text.encode(errors="replace")[-select.PIPE_BUF :])
    finally:
        # Not sys.exit(): the runner would finish the tests a second time.
        os._exit(0)
