# SPDX-License-Identifier: Apache-2.0
"""The policy `rules`: oslo.policy, with defaults in code and a policy file."""

import difflib
import logging
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from oslo_config import cfg
from oslo_policy import policy

from imageapi.caller import Caller
from imageapi.errors import BackendError, ConfigurationError
from imageapi.policy.base import (
    DOWNLOAD_IMAGE,
    GET_IMAGE,
    GET_IMAGES,
    GET_MEMBERS,
    PolicyBackend,
)
from imageapi.protocol.value_text import not_utf8

LOG = logging.getLogger(__name__)

# The shortest time between two checks for a changed file.  oslo.policy checks at every
# decision, which costs more than all the rest of a small request.
RELOAD_SECONDS = 1.0

_OPERATIONS: list[Any] = [
    {"path": "/v1/images/{image_id}", "method": method} for method in ("GET", "HEAD")
]

_RULES = (
    policy.DocumentedRuleDefault(
        name=GET_IMAGE,
        check_str="",
        description="See that an image exists, and its details. Checked at every GET and HEAD."
        " The target has the image's values only if the caller may know of the image: a public"
        " one, one of its own, or one shared with it. Otherwise, and for an absent image, the"
        " target is empty.",
        operations=_OPERATIONS,
    ),
    policy.DocumentedRuleDefault(
        name=DOWNLOAD_IMAGE,
        check_str="",
        description="Download an image's data. Checked at GET of the data and at HEAD of an"
        " active image. Also checked at GET of an absent image, with an empty target.",
        operations=_OPERATIONS,
    ),
    policy.DocumentedRuleDefault(
        name=GET_IMAGES,
        check_str="",
        description="List images. The target is empty. For each image, get_image decides whether"
        " the list contains it.",
        operations=[
            {"path": f"/v1/{path}", "method": "GET"}
            for path in ("images", "images/detail", "shared-images/{project_id}")
        ],
    ),
    policy.DocumentedRuleDefault(
        name=GET_MEMBERS,
        check_str="",
        description="List the members of an image. Checked after get_image, with the same target.",
        operations=[{"path": "/v1/images/{image_id}/members", "method": "GET"}],
    ),
)


# Rules of Glance's policy files, besides those of metadata definitions.  They have no
# effect here, but are not misspelt.
_RULES_OF_GLANCE = frozenset(
    """
    add_image add_image_location add_member add_task cache_clean cache_delete cache_image
    cache_list cache_prune communitize_image context_is_admin copy_from copy_image deactivate
    default delete_image delete_image_location delete_member download_from_store
    fetch_image_location get_image_location get_member get_task get_tasks list_cached_nodes
    manage_image_cache modify_image modify_member modify_task publicize_image reactivate
    service_api set_image_location stores_info_detail tasks_api_access upload_image
    """.split()
)


def list_rules() -> Sequence[policy.RuleDefault]:
    """Return the default rules, for oslopolicy-sample-generator."""
    return _RULES


class RulesPolicy(PolicyBackend):
    """Applies the rules of a policy file, or else the defaults in code.

    The file is checked for changes when a decision is needed, at most once a
    second.  A changed file is read at the second check that finds it the same.  So
    after a quiet time, the first decisions still use the old rules.  At start, an
    invalid policy file is refused.  If the file becomes invalid later, an error is
    logged, and the old rules stay in force.
    """

    @classmethod
    def options(cls) -> Sequence[cfg.Opt]:
        return (
            cfg.StrOpt(
                "policy_file",
                help="The policy file, in oslo.policy's YAML or JSON. A relative path is searched"
                " for in the folders of the configuration files, and then in oslo.config's usual"
                " folders. If unset, the default rules in the code apply.",
            ),
        )

    def __init__(self, conf: cfg.ConfigOpts, group: str) -> None:
        name: str | None = conf[group].policy_file
        self._path = conf.find_file(name) if name else None
        if name is not None and self._path is None:
            problem = f"policy_file: file {name!r} not found; create it, or correct the path (a"
            raise ConfigurationError(
                [f"{problem} relative one is searched for beside the configuration files)"]
            )
        self._lock = threading.Lock()
        self._used: frozenset[str] = frozenset()
        self._seen = self._coming = self._identity()
        self._looked_at = time.monotonic()
        try:
            self._enforcer = _load(self._path)
        except ValueError as error:
            raise ConfigurationError([f"policy_file: {self._path}: {error}"]) from None

    def use_rules(self, names: Sequence[str]) -> Sequence[str]:
        self._used = frozenset(names)
        self._warn_of_unused()
        return [name for name in names if name not in self._enforcer.rules]

    def allows(self, action: str, caller: Caller, target: Mapping[str, object]) -> bool:
        if time.monotonic() - self._looked_at > RELOAD_SECONDS:
            self._reload_if_changed()
        enforcer = self._enforcer
        return bool(enforcer.rules[action](target, _credentials(caller), enforcer, action))

    def check(self) -> str:
        if self._path is None:
            return "the default rules (policy_file is not set)"
        try:
            _refuse_unused(_read(self._path), self._used)
            self._loaded()
        except ValueError as error:
            raise BackendError(f"{self._path}: {error}") from None
        return f"policy_file {self._path}"

    def _identity(self) -> tuple[int, ...] | None:
        """Return what differs once the file has changed; None if there is no file."""
        if self._path is None:
            return None
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def _reload_if_changed(self) -> None:
        with self._lock:
            self._looked_at = time.monotonic()
            identity = self._identity()
            if identity == self._seen:
                return
            if identity != self._coming:
                # It may be half written: read it when the next check finds it the same.
                self._coming = identity
                return
            self._seen = identity
            try:
                self._enforcer = self._loaded()
            except ValueError as error:
                LOG.error("%s: %s; the previous rules stay in force", self._path, error)
            else:
                LOG.info("%s: reloaded", self._path)
                self._warn_of_unused()

    def _loaded(self) -> policy.Enforcer:
        """Load the file again.

        :raises ValueError: it is invalid, or has no longer a rule that is used.
        """
        enforcer = _load(self._path)
        missing = sorted(self._used - enforcer.rules.keys())
        if missing:
            names = ", ".join(map(repr, missing))
            raise ValueError(f"has no rule {names}, which property_protection_file names")
        return enforcer

    def _warn_of_unused(self) -> None:
        unused = _unused(self._enforcer.rules, self._used)
        if unused:
            LOG.warning("%s: these rules are never used: %s", self._path, ", ".join(unused))


def _credentials(caller: Caller) -> MutableMapping[str, Any]:
    """Return the caller's credentials for rules; those without a value are absent."""
    ids = {"user_id": caller.user_id, "project_id": caller.project_id}
    known = {name: value for name, value in ids.items() if value}
    return {**known, "roles": list(caller.roles), "is_admin": caller.is_admin}


def _load(path: str | None) -> policy.Enforcer:
    """Load the rules of a file; the defaults apply to rules that it does not define.

    :raises ValueError: the file is invalid.
    """
    rules = {rule.name: rule.check_str for rule in _RULES}
    if path is not None:
        rules.update(_read(path))
    # Use a separate ConfigOpts: the section [oslo_policy] of the embedding application
    # is for its own rules.
    own_conf = cfg.ConfigOpts()
    own_conf([], default_config_files=[], default_config_dirs=[])
    enforcer = policy.Enforcer(own_conf, use_conf=False)
    try:
        # Not set_rules(): with it, a rule named "default" would apply to missing rules.
        enforcer.rules = policy.Rules.from_dict(rules)
        enforcer.check_rules(raise_on_violation=True)
    except policy.InvalidDefinitionError as error:
        raise ValueError(f"undefined or circular rules: {error}") from None
    except RecursionError:
        raise ValueError("a rule is nested too deeply") from None
    return enforcer


def _refuse_unused(rules: Mapping[str, str], used: Collection[str]) -> None:
    """Refuse a rule that is neither used nor one of Glance's: it is misspelt, or forgotten.

    :raises ValueError: there is one.
    """
    names = [rule.name for rule in _RULES]
    for name in _unused(rules, used):
        if name in _RULES_OF_GLANCE or "metadef" in name:
            continue
        close = difflib.get_close_matches(name.lower(), names, 1, 0.75)
        hint = f"did you mean {close[0]!r}?" if close else f"imageapi uses {', '.join(names)}"
        raise ValueError(
            f"the rule {name!r} is never used ({hint}); correct its name, or remove it"
        )


def _unused(rules: Mapping[str, Any], used: Collection[str]) -> list[str]:
    """Return the names of the rules that neither imageapi nor other rules use.

    :param used: what a property protection file names.
    """
    asked = {rule.name for rule in _RULES} | set(used)
    for check in rules.values():
        asked.update(re.findall(r"rule:([^\s()]+)", str(check)))
    return sorted(set(rules) - asked)


def _text_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise ValueError(error.strerror) from None
    except UnicodeDecodeError as error:
        raise ValueError(not_utf8(error)) from None


def _read(path: str) -> dict[str, str]:
    text = _text_of(path)
    if not text.strip():
        # Not the defaults: an editor may empty a file before writing it.
        raise ValueError("is empty; for the default rules, remove the option policy_file")
    try:
        rules = policy.parse_file_contents(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not YAML: {_cause_of(error)}") from None
    if not isinstance(rules, dict):
        raise ValueError("must contain rules as NAME: RULE")
    for name, rule in rules.items():
        if not isinstance(name, str):
            raise ValueError(f"the name of a rule must be a string, not {name!r}")
        if not isinstance(rule, str):
            raise ValueError(f"the rule {name!r} must be a string")
        _check_grammar(name, rule)
    return rules


def _cause_of(error: ValueError) -> str:
    """Return in one line what is wrong with the YAML: oslo.policy's own text has several."""
    cause: Any = error.__context__
    mark = getattr(cause, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"{cause.problem} (line {mark.line + 1}, column {mark.column + 1})"


def _check_grammar(name: str, rule: str) -> None:
    """Refuse a rule that oslo.policy would log as invalid and then never allow."""
    depth = 0
    wants_check = True
    for word in _words(rule):
        if word in ("and", "or"):
            fits, wants_check = not wants_check, True
        elif word == ")":
            depth -= 1
            fits = not wants_check and depth >= 0
        else:
            fits = wants_check
            depth += word == "("
            wants_check = word in ("(", "not")
            if not wants_check and not _is_check(word):
                raise ValueError(f"the rule {name!r}: {word!r} is not a check such as role:admin")
        if not fits:
            raise ValueError(f"the rule {name!r} has a syntax error at {word!r}")
    if depth or (wants_check and rule):
        raise ValueError(f"the rule {name!r} ends too early: a check or a ) is missing")


def _is_check(word: str) -> bool:
    if word in ("!", "@"):
        return True
    try:
        # As oslo.policy inserts a target's values; this target has every name.
        word % defaultdict(str)
    except (TypeError, ValueError):
        return False
    is_quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "'\""
    return ":" in word and not is_quoted


def _words(rule: str) -> Iterator[str]:
    """Yield the words of a rule.  Parentheses inside a word, as in %(owner)s, are kept."""
    for chunk in rule.split():
        inner = chunk.lstrip("(")
        yield from "(" * (len(chunk) - len(inner))
        check = inner.rstrip(")")
        if check:
            yield check.lower() if check.lower() in ("and", "or", "not") else check
        yield from ")" * (len(inner) - len(check))
