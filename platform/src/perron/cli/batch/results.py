"""The file that a batch writes: a line of JSON for each row that has come to an end."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from perron.cli.result import as_row
from perron.core.result import RunResult
from perron.database.encoding import clean
from perron.errors import InvalidInputError

try:
    import fcntl
except ImportError:  # Windows: two batches on one file are then not told apart
    fcntl = None  # type: ignore[assignment]


@dataclass(slots=True)
class Counts:
    """How many rows came out how."""

    done: int = 0
    waiting: int = 0
    """Stopped for a person."""
    failed: int = 0

    @property
    def total(self) -> int:
        """All that came to an end."""
        return self.done + self.waiting + self.failed

    def add(self, line: dict[str, Any]) -> None:
        """Count a line of results."""
        if line["status"] != "success":
            self.failed += 1
        elif line["waiting"]:
            self.waiting += 1
        else:
            self.done += 1


class Results:
    """An open file of results, this process's alone."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.counts = Counts()
        self.first: tuple[int, UUID] | None = None
        """Row and run of the first line that was there before: by it a batch knows its own file."""
        self._file = file
        self._rows = bytearray()
        self._read()

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> Iterator[Results]:
        """Open or make the file and read what it has.

        Raises:
            InvalidInputError: It cannot be written, another batch writes it, or it holds something else.
        """
        try:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666), "r+b", buffering=0)
        except OSError as exc:
            raise InvalidInputError(f"{path} cannot be written: {(exc.strerror or str(exc)).lower()}.") from None
        with file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise InvalidInputError(f"Another `perron batch` writes {path} at this moment.") from None
            yield cls(path, file)

    def __contains__(self, row: int) -> bool:
        """Whether the row has come to an end."""
        return row < len(self._rows) and bool(self._rows[row])

    def add(self, row: int, result: RunResult) -> None:
        """Append how a row came out."""
        self._append({"row": row, **as_row(result)})

    def add_refused(self, row: int, error: Exception) -> None:
        """Append that no run could be made of a row."""
        reason = {"error": type(error).__name__, "message": str(error)}
        nothing = {"run_id": None, "thread_id": None, "status": "error", "output": None}
        self._append({"row": row, **nothing, "error": reason, "waiting": []})

    def _append(self, line: dict[str, Any]) -> None:
        encoded = json.dumps(clean(line)[0], ensure_ascii=False).encode() + b"\n"
        written = 0
        while written < len(encoded):
            written += self._file.write(encoded[written:]) or 0
        self._count(line)

    def _count(self, line: dict[str, Any]) -> None:
        row = line["row"]
        if row >= len(self._rows):  # a byte a row: a set of numbers would take fifty
            self._rows.extend(bytes(row + 1024 - len(self._rows)))
        self._rows[row] = 1
        self.counts.add(line)

    def _read(self) -> None:
        end = 0
        with self.path.open("rb") as lines:
            for number, text in enumerate(lines, 1):
                if not text.endswith(b"\n"):
                    break  # torn: whoever wrote it was killed
                end += len(text)
                line = _parse(text)
                if line is None:
                    raise InvalidInputError(
                        f"{self.path} line {number:,} is no result of `perron batch`: name another --out."
                    )
                if line["row"] in self:
                    again = f"the second result of row {line['row']:,}"
                    raise InvalidInputError(f"{self.path} line {number:,} is {again}: name another --out.")
                if self.first is None and line["run_id"]:
                    self.first = line["row"], UUID(line["run_id"])
                self._count(line)
        self._file.truncate(end)


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
        if line["run_id"] is not None:
            UUID(line["run_id"])
        is_ours = isinstance(line["row"], int) and line["row"] > 0 and isinstance(line["waiting"], list)
        return line if is_ours and isinstance(line["status"], str) else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
