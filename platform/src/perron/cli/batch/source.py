"""The file that a batch reads: twice, once to check all of it, once to run it; never as a whole in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perron.cli.batch.csv_rows import CsvRows
from perron.cli.batch.json_rows import JsonRows
from perron.cli.batch.row import Row
from perron.errors import InvalidInputError

_JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Source:
    """A CSV or JSON-lines file and how its rows become inputs."""

    path: Path
    columns: tuple[str, ...] = ()
    """`COLUMN` or `FIELD=COLUMN`; none: each column that is called as a field."""
    thread_column: str | None = None
    limit: int | None = None

    def check(self) -> None:
        """Refuse what cannot be read, without looking inside.

        Raises:
            InvalidInputError: No such file, or none of a kind that is known here.
        """
        kinds = (".csv", *_JSON_LINES)
        if self.path.suffix.lower() not in kinds:
            raise InvalidInputError(f"{self.path} is neither CSV nor JSON lines: name a {_listed(kinds)} file.")
        if self._is_json and self.columns:
            raise InvalidInputError("--column is for CSV files: a line of JSON is the agent's input as it stands.")
        if self.path.is_dir():
            raise InvalidInputError(f"{self.path} is a directory, not a file.")
        try:
            self.path.open("rb").close()
        except OSError as exc:
            raise InvalidInputError(f"{self.path} cannot be read: {(exc.strerror or str(exc)).lower()}.") from None

    def rows(self, schema: dict[str, Any] | None) -> Iterator[Row]:
        """Read the rows, one at a time.

        Args:
            schema: The JSON schema of the agent's input; what the columns of a CSV are matched with.

        Raises:
            InvalidInputError: A column that is not there, a line that is no JSON, bytes that are no text.
        """
        if self._is_json:
            return JsonRows(self.path, thread_field=self.thread_column).read(schema, limit=self.limit)
        return CsvRows(self.path, self.columns, thread_column=self.thread_column).read(schema, limit=self.limit)

    def digest(self) -> str:
        """Return what tells this content, read in this way, from any other. `limit` does not count."""
        with self.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
        content.update(repr((self.columns, self.thread_column)).encode())
        return content.hexdigest()

    @property
    def _is_json(self) -> bool:
        return self.path.suffix.lower() in _JSON_LINES


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
