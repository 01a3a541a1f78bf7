# SPDX-License-Identifier: Apache-2.0
"""A Paste filter with the cache that tempauth and authtoken want, for one proxy process.

Swift's own environment loads it by path: it imports nothing of ours.
"""

import os
from typing import Any

# While this file of the test exists, the tokens of tempauth are unknown.
_REVOKED = "SWIFT_TEST_TOKENS_REVOKED"


class Cache:
    """The methods of Swift's MemcacheRing that are used, with a dictionary."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def get(self, key: str, **_: Any) -> Any:
        path = os.environ.get(_REVOKED, "")
        if path and os.path.exists(path):
            os.unlink(path)
            tokens = [one for one in self._values if "/token/" in one or "/user/" in one]
            for name in tokens:
                del self._values[name]
        return self._values.get(key)

    def set(self, key: str, value: Any, *_: Any, time: int = 0, **__: Any) -> None:
        # Like memcached: a value that has already expired is not kept.
        if time >= 0:
            self._values[key] = value

    def incr(self, key: str, delta: int = 1, **_: Any) -> int:
        self._values[key] = int(self._values.get(key, 0)) + delta
        return int(self._values[key])

    def decr(self, key: str, delta: int = 1, **_: Any) -> int:
        return self.incr(key, -delta)

    def delete(self, key: str, **_: Any) -> None:
        self._values.pop(key, None)

    def get_multi(self, keys: list[str], *_: Any, **__: Any) -> list[Any]:
        return [self._values.get(key) for key in keys]

    def set_multi(self, mapping: dict[str, Any], *_: Any, **__: Any) -> None:
        self._values.update(mapping)


def factory(_conf: Any, **_local: Any) -> Any:
    """Paste's filter factory."""
    cache = Cache()

    def make(application: Any) -> Any:
        def filtered(environ: dict[str, Any], start_response: Any) -> Any:
            environ["swift.cache"] = cache
            return application(environ, start_response)

        return filtered

    return make
