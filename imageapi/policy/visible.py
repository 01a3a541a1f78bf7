# SPDX-License-Identifier: Apache-2.0
"""The policy `visible`: a caller who may know of an image may download it."""

from collections.abc import Mapping

from oslo_config import cfg

from imageapi.caller import Caller
from imageapi.policy.base import PolicyBackend


class VisiblePolicy(PolicyBackend):
    """Allows everything: the core has decided by is_public, owner and members."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        pass

    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return True

    def check(self) -> str:
        return "a caller who may know of an image may download it"
