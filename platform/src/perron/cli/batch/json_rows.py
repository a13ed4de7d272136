"""Rows of a file with one JSON value a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from perron.cli.batch.row import Row
from perron.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class JsonRows:
    """A JSON-lines file in UTF-8; each line is an input."""

    path: Path
    thread_field: str | None

    def read(self, schema: dict[str, Any] | None, *, limit: int | None) -> Iterator[Row]:
        """Read line by line; see `Source.rows`."""
        with self.path.open("rb") as file:
            lines = ((line, text) for line, text in enumerate(file, 1) if text.strip())
            for number, (line, text) in enumerate(islice(lines, limit), 1):
                yield self._row(number, self._parse(line, text), schema)

    def _parse(self, line: int, text: bytes) -> Any:
        where = f"{self.path} line {line:,}"
        try:
            return json.loads(text.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise InvalidInputError(f"{where} is not UTF-8: save the file as UTF-8.", line=line) from None
        except json.JSONDecodeError as exc:
            raise InvalidInputError(f"{where} is no JSON ({exc.msg} at column {exc.colno}).", line=line) from None
        except (RecursionError, ValueError) as exc:  # nested too deeply; an integer of thousands of digits
            reason = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc)
            raise InvalidInputError(f"{where} cannot be read as JSON: {reason}.", line=line) from None

    def _row(self, number: int, given: Any, schema: dict[str, Any] | None) -> Row:
        name = self.thread_field
        if name is None or not isinstance(given, dict) or given.get(name) is None:
            return Row(number, given)
        thread = str(given[name])
        if name not in ((schema or {}).get("properties") or {}):
            given = {key: value for key, value in given.items() if key != name}
        return Row(number, given, thread or None)
