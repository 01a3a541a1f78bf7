# SPDX-License-Identifier: Apache-2.0
"""Which properties of images a caller may read: Glance's property protections.

The file is Glance's.  Only what it says about reading is used, because imageapi does
not change images.
"""

import configparser
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from imageapi.caller import Caller
from imageapi.errors import ConfigurationError
from imageapi.image import Image
from imageapi.protocol.value_text import not_utf8

#: The two formats of the file: what allows an operation is roles, or a rule of the policy.
ROLES, POLICIES = "roles", "policies"

_OPERATIONS = ("create", "read", "update", "delete")
_EVERYBODY, _NOBODY = "@", "!"

# Glance's own notes on an image.  In a header, a client cannot tell their case.
_RESERVED = "os_glance_"
# Sections that begin like this have no effect in Glance either.
_RESERVED_SECTION = "os_glance"

# A name of more characters is decided each time, because the author of a record chooses it.
_LONGEST_REMEMBERED = 200


@dataclass(frozen=True)
class Section:
    """A section of the file.

    :ivar pattern: matches a property if it is found anywhere in the property's name.
    :ivar readers: roles in lower case, or the name of one rule; ``@`` for everybody,
        and empty for nobody.
    """

    pattern: re.Pattern[str]
    readers: frozenset[str]


class PropertyProtections:
    """Decides by the sections of a file.  Immutable, thread-safe.

    Of the sections that match a property, the first one counts.  A property that no
    section matches is hidden.

    :ivar sections: those of the file, in its order; None without a file.
    :ivar rules: the names of the policy's rules that decide, sorted.
    """

    def __init__(self, sections: Sequence[Section] | None = None, rule_format: str = ROLES) -> None:
        """Take the sections of a file.

        :param rule_format: `ROLES` or `POLICIES`.
        """
        self.sections = sections
        self._has_rules = rule_format == POLICIES
        named = (section.readers for section in sections or () if self._has_rules)
        self.rules = sorted(frozenset().union(*named) - {_EVERYBODY})
        self._section_of = lru_cache(maxsize=4096)(self._found)

    def reader(self, caller: Caller, allows: Callable[[str, Caller], bool]) -> "PropertyReader":
        """Return what a caller may read.

        :param allows: whether the policy's rule of this name allows it to the caller.
        """
        if self.sections is None:
            return _UNPROTECTED
        granted: Iterable[str] = (role.lower() for role in caller.roles)
        if self._has_rules:
            granted = (rule for rule in self.rules if allows(rule, caller))
        names = {_EVERYBODY, *granted}
        readable = (
            number
            for number, section in enumerate(self.sections)
            if not section.readers.isdisjoint(names)
        )
        return PropertyReader(self, frozenset(readable))

    def section_of(self, name: str) -> int | None:
        """Return the number of the section that decides on a property, or None."""
        return (self._section_of if len(name) <= _LONGEST_REMEMBERED else self._found)(name)

    def _found(self, name: str) -> int | None:
        numbered = enumerate(self.sections or ())
        return next((number for number, one in numbered if one.pattern.search(name)), None)


@dataclass(frozen=True)
class PropertyReader:
    """What a caller may read at one moment.

    :ivar readable: the numbers of the sections whose properties the caller may read; None
        without protections.  Callers with equal ones are shown the same properties.
    """

    _protections: PropertyProtections
    readable: frozenset[int] | None

    def may_read(self, name: str) -> bool:
        """Whether the caller may read the properties of this name."""
        if name.lower().startswith(_RESERVED):
            return False
        return self.readable is None or self._protections.section_of(name) in self.readable

    def shown(self, image: Image) -> Image:
        """Return an image with the properties that the caller may read.

        :returns: the same object if these are all of its properties.
        """
        # For speed: this is all that most lists need for an image.
        if self.readable is None and _RESERVED not in "\n".join(image.properties).lower():
            return image
        hidden = {name for name in image.properties if not self.may_read(name)}
        if not hidden:
            return image
        rest = {name: value for name, value in image.properties.items() if name not in hidden}
        return replace(image, properties=MappingProxyType(rest))


_UNPROTECTED = PropertyReader(PropertyProtections(), None)


def read_sections(path: str, rule_format: str) -> Sequence[Section]:
    """Read a property protection file.

    :param rule_format: `ROLES` or `POLICIES`.
    :raises ConfigurationError: one sentence for each problem, with its section.
    """
    parser = _parsed(path)
    names = [name for name in parser.sections() if not name.startswith(_RESERVED_SECTION)]
    if not names:
        raise ConfigurationError(
            ["has no section, so every property would be hidden; add a section for each property"]
        )
    problems: list[str] = []
    sections = []
    for name in names:
        found = [f"section [{name}]: {cause}" for cause in _causes(parser, name, rule_format)]
        problems.extend(found)
        if not found:
            readers = parser[name]["read"]
            readers = readers.lower() if rule_format == ROLES else readers
            sections.append(Section(re.compile(name), _readers(readers)))
    if problems:
        raise ConfigurationError(problems)
    return sections


def _parsed(path: str) -> configparser.ConfigParser:
    """Parse a file as Glance does, so with its DEFAULT section and with ``%%`` for a ``%``."""
    parser = configparser.ConfigParser()
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except OSError as error:
        raise ConfigurationError([f"cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError([not_utf8(error)]) from None
    except configparser.Error as error:
        raise ConfigurationError([_cause_of(error)]) from None
    return parser


def _cause_of(error: configparser.Error) -> str:
    if isinstance(error, configparser.DuplicateSectionError):
        return (
            f"section [{error.section}] is repeated in line {error.lineno}; remove one of the two"
        )
    if isinstance(error, configparser.DuplicateOptionError):
        where = f"section [{error.section}]: {error.option!r} is repeated in line {error.lineno}"
        return f"{where}; remove one of the two"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} comes before the first section, such as [^x_owner$]"
    if isinstance(error, configparser.ParsingError):
        return f"line {error.errors[0][0]} is neither a [SECTION] nor OPERATION = ROLES"
    return str(error).replace("\n", " ")


def _causes(parser: configparser.ConfigParser, name: str, rule_format: str) -> Iterator[str]:
    """Yield what is wrong with a section."""
    try:
        re.compile(name)
    except (re.error, OverflowError, RecursionError) as error:
        yield f"its name is not a regular expression: {error}"
    for operation in _OPERATIONS:
        try:
            value = parser[name].get(operation)
        except configparser.InterpolationError:
            yield f"{operation!r} has a % that has no meaning; write %% for a %"
            continue
        if value is None:
            yield f"{operation!r} is missing; add it; its value ! refuses every caller"
        elif rule_format == POLICIES and "," in value:
            yield (
                f"{operation!r} must be the name of one rule, not {value!r:.100}; combine rules in"
                " the policy file"
            )
        elif {_EVERYBODY, _NOBODY} <= _names(value):
            yield f"{operation!r} must not be both @ (everybody) and ! (nobody)"


def _names(value: str) -> set[str]:
    return {name.strip() for name in value.split(",")}


def _readers(value: str) -> frozenset[str]:
    names = _names(value)
    return frozenset() if _NOBODY in names else frozenset(names - {""})
