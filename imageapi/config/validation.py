# SPDX-License-Identifier: Apache-2.0
"""Registers the options of all sections, and collects the problems in them."""

import difflib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from oslo_config import cfg, types

from imageapi.config.serve_options import GROUP as SERVE
from imageapi.errors import ConfigurationError

LOG = logging.getLogger(__name__)

# The text by which oslo.config says where a value comes from.
_LOCATION_INFO = re.compile(r" from LocationInfo\(.*?detail='(.*?)'\)")

# The text by which it repeats a line that cannot be parsed.
_REPEATED_LINE = re.compile(r": ['\"].*", re.DOTALL)

# Python's texts for a value of another type, and ours.
_TYPE_ERRORS = (
    (re.compile(r"invalid literal for int\(\) with base 10: (.*)"), r"\1 is not a whole number"),
    (re.compile(r"could not convert string to float: (.*)"), r"\1 is not a number"),
    (re.compile(r"Unexpected boolean value (.*)"), r"\1 is neither true nor false"),
)

# The name of a backend's section.
_BACKEND_SECTION = re.compile(r"(imageapi_(?:registry|store|policy|events)_)(.*)")

#: oslo.config's errors for a value with a ``$`` reference to itself or to no option.
UNRESOLVED = (
    cfg.NoSuchOptError,
    cfg.NoSuchGroupError,
    cfg.TemplateSubstitutionError,
    RecursionError,
)

#: The message for it.  It omits the text after the ``$``, which may be part of a password.
DOLLAR = "has a $ reference to itself or to an unknown option; write $$ for a $"


class Sections:
    """Registers sections, and collects the problems of a whole configuration.

    :ivar problems: one sentence for each problem.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.problems: list[str] = []
        self._conf = conf
        self._known: dict[str, set[str]] = {}
        self._owners: dict[str, str] = {}
        self._expected: set[str] = set()
        self._incomplete: set[str] = set()

    def add_problem(self, group: str, problem: str, *about: str) -> None:
        """Add a problem of a section, with the file that sets the option.

        :param problem: a sentence; if it is about an option, ``OPTION: `` comes first.
        :param about: more information for the operator.
        """
        option, _, _ = problem.partition(":")
        message = "; ".join([*self._file_of(group, option), *filter(None, about)])
        line = f"[{group}] {problem}{message and f' ({message})'}"
        # Two backends may share a section.
        if line not in self.problems:
            self.problems.append(line)

    def expect(self, group: str) -> None:
        """Suppress the warning for a section that may never be registered."""
        self._expected.add(group)

    def refuse(self, group: str, error: ConfigurationError, owner: str) -> None:
        """Add the problems of a backend.

        If its options cannot be known because of them, no option is called unknown.

        :param group: the section of the backend.
        :param owner: the owner of the options, for the texts of problems.
        """
        if error.section is not None:
            group = error.section
            self._incomplete.add(group)
            owner = self._owners.setdefault(group, owner)
        for problem in error.problems:
            self.add_problem(group, problem, owner)

    def know(self, group: str, options: Sequence[cfg.Opt], owner: str = "") -> None:
        """Let misspelt options of a section be found, without registering its options."""
        self._owners.setdefault(group, owner)
        self._known.setdefault(group, set()).update(_spellings(options, group))

    def register(self, group: str, options: Sequence[cfg.Opt], owner: str = "") -> Sequence[str]:
        """Register a section's options.

        :param owner: the owner of the options, for the texts of problems.
        :returns: the names of the options with unusable values; each is a problem.
        :raises ConfigurationError: the options themselves cannot be registered.
        """
        try:
            self._conf.register_opts(options, group=group)
        except cfg.DuplicateOptError as error:
            name = error.opt_name.replace("-", "_")
            message = f"its options clash with those of the application: {error}"
            own = [option.dest for option in options]
            if self._owners.get(group) == owner:
                own.extend(self._known[group])
            if own.count(name) > 1:
                message = f"{name}: its backend defines this option twice: remove one"
            raise ConfigurationError([message]) from None
        except cfg.Error as error:
            message = f"its options clash with those of the application: {error}"
            raise ConfigurationError([message]) from None
        self.know(group, options, owner)
        unusable = []
        for option in options:
            problem = self._problem_of(group, option)
            if problem:
                self.add_problem(group, f"{option.dest}: {problem}", self._owners[group])
                unusable.append(option.dest)
        return unusable

    def report_unknown_options(self) -> None:
        """Refuse misspelt options, which would otherwise silently keep their defaults."""
        for path in getattr(self._conf, "config_file", None) or ():
            for group, names in names_in(path).items():
                if group in self._known and group not in self._incomplete:
                    self._report_unknown(path, group, names)
                    continue
                if group in self._expected or group in self._incomplete:
                    continue
                self._warn_of_unused(path, group)

    def _warn_of_unused(self, path: str, group: str) -> None:
        known = {*self._known, *self._expected, *self._incomplete}
        nearest = nearest_of(group, known)
        found = _BACKEND_SECTION.fullmatch(group)
        if found:
            kind, name = found.groups()
            # Only a similar NAME helps: each kind has sections that begin like this one.
            names = [one.removeprefix(kind) for one in known if one.startswith(kind)]
            close = difflib.get_close_matches(name, names, 1, 0.6)
            nearest = f" (did you mean '{kind}{close[0]}'?)" if close else ""
            nearest = nearest or f": [imageapi] names no backend {name!r} of this kind"
        elif f"'{SERVE}'" in nearest:
            # Without it, the service would listen elsewhere, without TLS and without logs.
            self.add_problem(group, f"there is no such section{nearest}", f"in {path}")
            return
        if nearest or group.startswith("imageapi_"):
            LOG.warning("[%s] in %s is not used%s", group, path, nearest)

    def _report_unknown(self, path: str, group: str, names: Iterable[str]) -> None:
        known = self._known[group]
        for name in names:
            if name.replace("-", "_") not in known:
                problem = f"{name}: there is no such option{nearest_of(name, known)}"
                self.add_problem(group, problem, f"in {os.path.abspath(path)}", self._owners[group])

    def _problem_of(self, group: str, option: cfg.Opt) -> str:
        """Return what is wrong with an option's value; empty if nothing is."""
        try:
            value = self._conf[group][option.dest]
        except UNRESOLVED:
            return DOLLAR
        except (ValueError, cfg.Error) as error:
            if option.secret:
                # oslo.config's message contains the value, or a part of it.
                found = _LOCATION_INFO.search(str(error))
                where = f" in {found[1]}" if found else ""
                return f"its value{where} is not valid"
            message = _LOCATION_INFO.sub(r" in \1", str(error))
            for python, ours in _TYPE_ERRORS:
                message = python.sub(ours, message)
            return f"{message}{self._value_unless_in(message, group, option.dest)}"
        # oslo.config takes an empty text for no number, whatever the default is.
        if value is None and option.default is not None and isinstance(option.type, types.Number):
            return "is empty; set it to a number, or remove the line for the default"
        # oslo.config checks this only for options that are registered before parsing.
        return "must be set" if option.required and value in (None, "") else ""

    def _value_unless_in(self, message: str, group: str, option: str) -> str:
        """Return the value of an option for a message; empty if the message has it."""
        for path in reversed(getattr(self._conf, "config_file", None) or ()):
            for name, values in names_in(path).get(group, {}).items():
                if name.replace("-", "_") == option and repr(values[-1]) not in message:
                    return f", but found {values[-1]!r:.100}"
        return ""

    def _file_of(self, group: str, option: str) -> Iterator[str]:
        """Yield the file that sets an option, if there is one and it can be found."""
        try:
            found = self._conf.get_location(option, group)
        except (ValueError, RecursionError, cfg.Error):
            return
        if found is not None and found.location is cfg.Locations.user:
            yield f"in {found.detail}"


def nearest_of(name: str, known: Iterable[str]) -> str:
    """Return a "did you mean" hint for a misspelt name; empty if no name is similar."""
    close = difflib.get_close_matches(name, list(known), 1, 0.75)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _spellings(options: Sequence[cfg.Opt], group: str) -> Iterable[str]:
    for option in options:
        yield option.dest
        for deprecated in option.deprecated_opts:
            if deprecated.name and deprecated.group in (None, group):
                yield deprecated.name.replace("-", "_")


def names_in(path: str) -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Return the options in a configuration file, with their texts, by section.

    If it cannot be read, a warning is logged, and nothing is returned.
    """
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except (OSError, cfg.Error) as error:
        # The application may have changed its folder, so that a relative path is wrong.
        message = message_of(error)
        LOG.warning("%s cannot be read again to look for misspelt options: %s", path, message)
    return sections


def message_of(error: Exception) -> str:
    """Return the error of a file on one line, without the file's text: it may be a secret.

    :param error: the exception from reading the file.
    """
    message = str(error)
    if not isinstance(error, OSError):
        message = _REPEATED_LINE.sub("", message)
    return message.replace("\n", " ")
