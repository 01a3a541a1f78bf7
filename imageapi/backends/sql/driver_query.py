# SPDX-License-Identifier: Apache-2.0
"""A query whose text is made once, for the driver to execute."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Dialect


class DriverQuery:
    """A query in the form that a driver takes.

    For a query that every download sends, SQLAlchemy's own execution takes more processor time
    than the driver and the rest of the request together (benchmarks/README.md).

    :ivar statement: the same query for SQLAlchemy.
    :ivar text: with the driver's kind of parameters.
    """

    def __init__(self, statement: CompoundSelect[Any], dialect: Dialect) -> None:
        """:param statement: without lists among its parameters."""
        compiled = statement.compile(dialect=dialect)
        self.statement = statement
        self.text = str(compiled)
        self._values = dict(compiled.params)
        self._order: Sequence[str] | None = getattr(compiled, "positiontup", None)

    def parameters(self, values: Mapping[str, Any]) -> Mapping[str, Any] | Sequence[Any]:
        """Return all parameters, by name or in order, as the driver takes them."""
        named = {**self._values, **values}
        return named if self._order is None else [named[name] for name in self._order]
