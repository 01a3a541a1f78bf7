# SPDX-License-Identifier: Apache-2.0
"""The policy `visible`: whoever may see an image may download it."""

from collections.abc import Mapping

from oslo_config import cfg

from imageapi.caller import Caller
from imageapi.policy.base import PolicyBackend


class VisiblePolicy(PolicyBackend):
    """Adds nothing to what the core decides by is_public, owner and members."""

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        pass

    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        return True

    def check(self) -> str:
        return "a caller who may know of an image may download it"
