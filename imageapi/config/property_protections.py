# SPDX-License-Identifier: Apache-2.0
"""The options for property protections -> the sections of their file."""

from collections.abc import Sequence

from oslo_config import cfg

from imageapi.config.options import GROUP
from imageapi.config.validation import Sections
from imageapi.errors import ConfigurationError
from imageapi.policy.base import PolicyBackend
from imageapi.policy.property_protections import PropertyProtections, read_sections

_OPTION = "property_protection_file"


def protections_of(
    conf: cfg.ConfigOpts, policies: Sequence[PolicyBackend], sections: Sections
) -> PropertyProtections:
    """Return the configured protections, and tell the policy which of its rules they use.

    :param policies: the policy; empty if it could not be created.
    :param sections: gets the problems.
    """
    protections = PropertyProtections()
    name: str | None = conf[GROUP][_OPTION]
    path = conf.find_file(name) if name else None
    if path is not None:
        rule_format = conf[GROUP].property_protection_rule_format
        try:
            protections = PropertyProtections(read_sections(path, rule_format), rule_format)
        except ConfigurationError as error:
            for problem in error.problems:
                sections.add_problem(GROUP, f"{_OPTION}: {path}: {problem}")
    elif name is not None:
        problem = f"{_OPTION}: file {name!r} not found; create it, or correct the path (a relative"
        sections.add_problem(
            GROUP, f"{problem} one is searched for beside the configuration files)"
        )
    for policy in policies:
        for rule in policy.use_rules(protections.rules):
            problem = f"{path}: the policy has no rule {rule!r}; add it, or correct its name"
            sections.add_problem(GROUP, f"{_OPTION}: {problem}")
    return protections
