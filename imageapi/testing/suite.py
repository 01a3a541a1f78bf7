# SPDX-License-Identifier: Apache-2.0
"""What the three suites have in common: how a plugin's author uses one, and helpers.

::

    class TestMyStore(StoreSuite, testtools.TestCase):
        def make_store(self) -> MyStore:
            self.folder = self.enterContext(tempfile.TemporaryDirectory())
            return build(MyStore, directory=self.folder)
        ...

A suite is a mixin and no TestCase, so that neither pytest nor unittest runs
it where it is only imported.  A subclass names testtools.TestCase as its
second base.  What it must define raises NotImplementedError here, and says
what it is for.
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
from typing import TYPE_CHECKING, NoReturn, TypeVar

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
# A thread or child that takes longer hangs, for instance at a lock.
_PATIENCE = 30
_EVENTS_OF_UPSTREAMS = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.system",
        "socket.connect",
        "socket.getaddrinfo",
        "sqlite3.connect",
        "subprocess.Popen",
    }
)
_watched = threading.local()
# What a pool may keep open, however often it is used.
_FEW_DESCRIPTORS = 10


def build(backend: type[B], **options: object) -> B:
    """Make a backend from a configuration of its own.

    :param options: values of the backend's options; the others keep their defaults.
    :raises ConfigurationError: an option that is required has none.
    """
    conf = cfg.ConfigOpts()
    # Before the options are there: it would miss those that are required.
    conf([], default_config_files=[], default_config_dirs=[])
    conf.register_opt(cfg.IntOpt("chunk_size", default=CHUNK_SIZE), group="imageapi")
    left = dict(options)
    required = _give(conf, {_GROUP: backend.options()}, left)
    required += _give(conf, backend.dependent_options(conf, _GROUP), left)
    for name, value in left.items():
        # There is no such option, as this says.
        conf.set_override(name, value, group=_GROUP)
    for group, name in required:
        if not conf[group][name]:
            raise ConfigurationError([f"build({backend.__name__}) needs {name}=..."])
    return backend(conf, _GROUP)


def _give(
    conf: cfg.ConfigOpts, sections: Mapping[str, Sequence[cfg.Opt]], values: dict[str, object]
) -> list[tuple[str, str]]:
    """Register options, with those of the values that are theirs, which are used up.

    :returns: the section and name of each that is required.
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
    """Cases that hold for every backend, and helpers for those that do not.

    :cvar secrets: texts that the backend knows and must not show.
    :cvar caller: in whose name all is asked; its token must not be shown either.
    """

    secrets: Sequence[str] = ()
    caller = Caller(
        user_id="suite-user",
        project_id="suite-project",
        roles=("member",),
        token="suite-token",  # noqa: S106 - made up  # nosec B106
    )

    def __init_subclass__(cls, *, mixin: bool = False) -> None:
        """Refuse a class whose cases nobody would run, or without their setUp().

        :param mixin: for a class that is to be no TestCase itself.
        """
        super().__init_subclass__()
        order = [base for base in cls.__mro__ if base in (BackendSuite, unittest.TestCase)]
        if not mixin and order != [BackendSuite, unittest.TestCase]:
            raise TypeError(
                f"write class {cls.__name__}(SUITE, testtools.TestCase), the suite first"
            )
        if isinstance(cls.secrets, str):
            raise TypeError(f"{cls.__name__}.secrets must be a list of strings, not one string")

    def backend(self) -> Backend:
        """The one backend of a case."""
        raise NotImplementedError

    def unreachable(self) -> Backend | None:
        """A new backend whose upstream is out of reach; None where it has none."""
        raise NotImplementedError

    def test_check_is_content(self) -> None:
        said = self.works("check()", self.backend().check)
        self.must(type(said) is str, "check() must return a str, which may be empty, or raise")
        self.must(not CONTROL.search(said), "the text of check() must be one line")
        self.keeps_secrets({"what check() says": said})

    def test_close_twice(self) -> None:
        self.works("close()", self.backend().close)
        self.works("a second close()", self.backend().close)

    def test_constructor_does_no_io(self) -> None:
        open_before, threads_before = descriptors(), threading.active_count()
        with _upstream_asked() as asked:
            try:
                backend = self.works("the constructor", self.unreachable)
            except ConfigurationError as error:
                self.fail(f"the constructor must not contact its upstream, but raised: {error}")
        if backend is not None:
            self.lets_go_of(backend)
            self.must(
                descriptors() <= open_before and threading.active_count() <= threads_before,
                "the constructor opened descriptors or started threads, which do not survive a"
                " fork: do so at the first use, under a lock",
            )
            self.must(not asked, f"the constructor must not contact its upstream: it did {asked}")

    def test_check_tells_what_is_wrong(self) -> None:
        backend = self.unreachable()
        if backend is not None:
            self.lets_go_of(backend)
            error = self.refused("check() with an unreachable upstream", backend.check)
            self.must(str(error) != "", "check() must tell the operator what is wrong")
            self.keeps_secrets({"the error of check()": error})

    def lets_go_of(self, backend: Backend) -> None:
        """Close a backend after the case, whose own failure must not be hidden by that."""

        def close() -> None:
            with contextlib.suppress(Exception):
                backend.close()

        self.addCleanup(close)

    def works(self, what: str, act: Callable[[], T]) -> T:
        """Do what must not raise; fail with what to mend where it does."""
        try:
            return act()
        except (NotImplementedError, ConfigurationError, self.failureException):
            # It says what the author has yet to define, or has defined wrongly.
            raise
        except BackendError as error:
            message = f"{what} must work here, but raised {type(error).__name__}: {error}"
            raise self.failureException(message) from error
        except Exception as error:
            self._foreign(what, error)

    def tried(self, what: str, act: Callable[[], T]) -> T | BackendError:
        """Do what may raise a BackendError, which is returned, and nothing else."""
        try:
            return act()
        except BackendError as error:
            return error
        except self.failureException:
            raise
        except Exception as error:
            self._foreign(what, error)

    def must(self, condition: bool, message: str) -> None:
        """Fail with a message that says what must be, and with nothing before it."""
        if not condition:
            self.fail(message)

    def refused(
        self, what: str, act: Callable[[], object], *kinds: type[BackendError]
    ) -> BackendError:
        """Do what must raise one of these, or of any, BackendErrors; return it."""
        wanted = " or ".join(kind.__name__ for kind in kinds) or "a BackendError"
        answer = self.tried(what, act)
        if not isinstance(answer, BackendError):
            self.fail(f"{what} must raise {wanted} at once, but returned {type(answer).__name__}")
        if not isinstance(answer, kinds or BackendError):
            message = f"{what} must raise {wanted}, not {type(answer).__name__}: {answer}"
            raise self.failureException(message) from answer
        return answer

    def out_of_reach(self, what: str, act: Callable[[], object]) -> BackendError:
        """Do what must say that the upstream is unreachable, not that nothing is there."""
        error = self.refused(f"{what} with an unreachable upstream", act, BackendUnavailable)
        self.keeps_secrets({f"the error of {what} with an unreachable upstream": error})
        return error

    def keeps_secrets(self, things: Mapping[str, object], *more: str) -> None:
        """Fail where a text of one of these, by its name, shows a secret, or one more."""
        secrets = [*self.secrets, *filter(None, [self.caller.token]), *more]
        for name, thing in things.items():
            for show in (str, repr):
                text = show(thing)
                for number, secret in enumerate(secrets):
                    told = f"{show.__name__}() of {name} shows secret number {number}: leave it out"
                    self.must(secret not in text, told)

    def leaks_nothing(self, what: str, act: Callable[[], object]) -> None:
        """Fail where doing this often leaves descriptors open, though its result is kept."""
        kept = [act() for _ in range(5)]
        before = descriptors()
        kept += [act() for _ in range(50)]
        left = descriptors() - before
        told = f"{what} 50 times left {left} descriptors open: close each"
        self.must(left < _FEW_DESCRIPTORS, told)

    def in_threads(self, act: Callable[[int], object]) -> None:
        """Do this in ten threads at once, each with its number; fail where one does or hangs."""
        barrier = threading.Barrier(_THREADS)
        problems: list[str] = []

        def run(number: int) -> None:
            barrier.wait(_PATIENCE)
            problems.append(_problem_of(lambda: act(number)))

        # Threads that take turns often find what is not safe for them.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE)
        self.assertEqual(_THREADS, len(problems), "a thread hangs: is a lock never released?")
        told = next(filter(None, problems), "")
        self.assertEqual("", told, "it fails when ten threads use it at once: lock shared state")

    def in_child(self, act: Callable[[], object]) -> None:
        """Do this in a forked child, and here at the same time; fail where one does or hangs."""
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            # Whatever threads the runner has, the child uses nothing of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _report(writing, act)
        os.close(writing)
        try:
            own_problem = _problem_of(act)
            told = _told_by(reading)
        finally:
            os.close(reading)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.assertEqual("", own_problem, "it fails in the parent when a forked child uses it too")
        self.assertEqual(
            "fine",
            told,
            "created before a fork, it fails or hangs in the child: open nothing before first use",
        )

    def _foreign(self, what: str, error: Exception) -> NoReturn:
        message = (
            f"{what} raised {type(error).__name__}: {error}; a backend raises only the"
            " BackendErrors of imageapi.errors"
        )
        raise self.failureException(message) from error


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def _upstream_asked() -> Iterator[list[str]]:
    """Python's audit events, of this thread meanwhile, that tell of an upstream being asked."""
    _install_audit_hook()
    events: list[str] = []
    _watched.events = events
    try:
        yield events
    finally:
        _watched.events = None


@functools.cache
def _install_audit_hook() -> None:
    """Once, since nothing takes such a hook away again."""
    sys.addaudithook(_note_event)


def _note_event(event: str, _arguments: object) -> None:
    if event in _EVENTS_OF_UPSTREAMS and (events := getattr(_watched, "events", None)) is not None:
        events.append(event)


def _problem_of(act: Callable[[], object]) -> str:
    """What this raises, with its traceback; an empty text where nothing."""
    try:
        act()
    except Exception:
        return traceback.format_exc()
    return ""


def _report(writing: int, act: Callable[[], object]) -> NoReturn:
    """End this process, and tell how the act went through a pipe."""
    try:
        text = _problem_of(act) or "fine"
        os.write(writing, text.encode(errors="replace")[-select.PIPE_BUF :])
    finally:
        # Not the runner's exit: it would end the tests a second time.
        os._exit(0)


def _told_by(reading: int) -> str:
    ready, _, _ = select.select([reading], [], [], _PATIENCE)
    if not ready:
        return "it hangs"
    return os.read(reading, select.PIPE_BUF).decode(errors="replace") or "it died"
