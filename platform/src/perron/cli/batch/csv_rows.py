"""Rows of a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from perron.cli.batch.row import Row
from perron.errors import InvalidInputError, nearest

_CELL_MAX_CHARS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class CsvRows:
    """A CSV file in UTF-8 whose first line names the columns."""

    path: Path
    columns: Sequence[str]
    """`COLUMN` or `FIELD=COLUMN`; none: each column that is called as a field."""
    thread_column: str | None

    def read(self, schema: dict[str, Any] | None, *, limit: int | None) -> Iterator[Row]:
        """Read row by row; see `Source.rows`."""
        csv.field_size_limit(_CELL_MAX_CHARS)
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            try:
                fields = self._fields(reader.fieldnames or (), schema)
                for number, cells in enumerate(islice(reader, limit), 1):
                    yield self._row(number, cells, fields)
            except UnicodeDecodeError:
                raise InvalidInputError(
                    f"{self.path} is not UTF-8 (after line {reader.line_num:,}): save it as UTF-8."
                ) from None
            except csv.Error as exc:
                raise InvalidInputError(f"{self.path} is no CSV at line {reader.line_num:,}: {exc}.") from None

    def _fields(self, names: Sequence[str], schema: dict[str, Any] | None) -> list[_Field]:
        if not names:
            raise InvalidInputError(f"{self.path} is empty: its first line has to name the columns.")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InvalidInputError(f"{self.path} has two columns {twice!r}.")
        for name in (*(_split(given)[1] for given in self.columns), self.thread_column):
            if name is not None and name not in names:
                hint = nearest(name, names) or f" Its columns are {', '.join(names)}."
                raise InvalidInputError(f"{self.path} has no column {name!r}.{hint}", column=name)
        known: dict[str, Any] = (schema or {}).get("properties") or {}
        pairs = [_split(given) for given in self.columns] or [(n, n) for n in names if n in known]
        for field, column in pairs:
            if known and field not in known:
                hint = nearest(field, known) or f" They are {', '.join(known)}: write --column FIELD={column}."
                raise InvalidInputError(f"The agent's input has no field {field!r}.{hint}", field=field)
        if not pairs:
            fields = ", ".join(known) or "none that are declared"
            raise InvalidInputError(
                f"None of the columns of {self.path} ({', '.join(names)}) is a field of the agent's input "
                f"({fields}): write --column FIELD=COLUMN."
            )
        needed = (schema or {}).get("required") or ()
        return [_Field.of(name, column, known.get(name, {}), is_needed=name in needed) for name, column in pairs]

    def _row(self, number: int, cells: dict[str | Any, str | Any], fields: Sequence[_Field]) -> Row:
        if None in cells:
            where = f"{self.path} row {number:,}"
            raise InvalidInputError(f"{where} has more cells than there are columns.", row=number)
        given: dict[str, Any] = {}
        for field in fields:
            cell = cells[field.column]
            if cell or (cell is not None and field.is_needed):
                given[field.name] = cell if field.is_text else _value(cell)
        thread = cells[self.thread_column] if self.thread_column else None
        return Row(number, given, thread or None)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    column: str
    is_text: bool
    """Else a cell is JSON: a number, a truth value, a list."""
    is_needed: bool
    """Else an empty cell leaves the field out."""

    @classmethod
    def of(cls, name: str, column: str, schema: dict[str, Any], *, is_needed: bool) -> _Field:
        kinds = [option.get("type") for option in schema.get("anyOf") or [schema]]
        return cls(name, column, is_text=not any(kinds) or "string" in kinds, is_needed=is_needed)


def _split(given: str) -> tuple[str, str]:
    field, equals, column = given.partition("=")
    return (field, column) if equals else (given, given)


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell  # the check of the input says what the agent would have
