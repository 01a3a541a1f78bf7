# SPDX-License-Identifier: Apache-2.0
"""The credentials of requests: those of the configuration, or those that botocore finds.

botocore may ask a metadata service or run a program, and either may hang.  So it searches
in a thread of its own, for which a request waits only for a limited time.
"""

import copy
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from botocore.session import Session

from imageapi.errors import BackendError, BackendUnavailable, BadReply

# Seconds.  botocore renews temporary credentials 10 to 15 minutes before they expire, if it
# is asked for them then.
_SEARCHED_AGAIN_AFTER = 60.0
_USED_FOR = 300.0


class Keys(NamedTuple):
    """What a request is signed with.

    :ivar token: of temporary credentials; None for others.
    """

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "<Keys>"


class Credentials(ABC):
    """Gives the keys of each request.  Safe in threads, and after a fork."""

    @abstractmethod
    def get(self) -> Keys:
        """Return the keys for the next request.

        :raises BackendUnavailable: they cannot be had for now.
        :raises BadReply: botocore has found no keys.
        """

    def renew(self, used: Keys) -> bool:
        """Discard keys that the server has refused.

        :returns: whether there are others.
        :raises BackendError: as `get`.
        """
        return False


class ConfiguredCredentials(Credentials):
    """Those of the configuration."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def get(self) -> Keys:
        return self._keys


class _Search(NamedTuple):
    """A search in a thread.

    :ivar result: the keys, or the error with which the search ended.
    :ivar until: how long requests wait for it (`time.monotonic`).
    """

    result: "Future[Keys | BackendError]"
    until: float


class FoundCredentials(Credentials):
    """Those that botocore finds.  It renews temporary ones."""

    def __init__(self, timeout: float, session: Callable[[], Any] = Session) -> None:
        """Prepare; search for nothing yet.

        :param timeout: for how many seconds requests wait for a search.
        :param session: makes a session of botocore.
        """
        self._timeout = timeout
        self._new_session = session
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._search: _Search | None = None
        self._keys: Keys | None = None
        self._found_at = 0.0
        # Renews temporary keys.  A new one reads files again.
        self._source: Any = None

    def get(self) -> Keys:
        with self._lock:
            if self._process != os.getpid():
                # After a fork, a thread exists only in the parent.
                self._search, self._process = None, os.getpid()
            keys, age = self._keys, time.monotonic() - self._found_at
            if keys is not None and age < _SEARCHED_AGAIN_AFTER:
                return keys
            search = self._search or self._start()
        if keys is not None and age < _USED_FOR:
            return keys
        try:
            found = search.result.result(max(search.until - time.monotonic(), 0))
        except TimeoutError:
            raise BackendUnavailable("botocore has found no credentials in time") from None
        if isinstance(found, BackendError):
            # A copy, because several threads raise it.
            raise copy.copy(found)
        return found

    def renew(self, used: Keys) -> bool:
        with self._lock:
            if self._keys == used:
                self._keys = self._source = None
        return self.get() != used

    def _start(self) -> _Search:
        search = _Search(Future(), time.monotonic() + self._timeout)
        self._search = search
        # A daemon, because nothing can end a search that hangs.
        threading.Thread(target=self._run, args=(search,), daemon=True).start()
        return search

    def _run(self, search: _Search) -> None:
        found: Keys | BackendError
        try:
            found = self._found()
        except BackendError as error:
            found = error
        except Exception as error:  # noqa: BLE001 - botocore's sources raise any
            found = BackendUnavailable(f"botocore cannot find credentials: {type(error).__name__}")
        with self._lock:
            if self._search is search:
                self._search = None
                if isinstance(found, Keys):
                    self._keys, self._found_at = found, time.monotonic()
        search.result.set_result(found)

    def _found(self) -> Keys:
        source = self._source
        if source is None:
            source = self._new_session().get_credentials()
        if source is None:
            raise BadReply(
                "there are no credentials: set access_key and secret_key, or configure one of"
                " the sources that botocore knows"
            )
        self._source = source
        frozen = source.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)
