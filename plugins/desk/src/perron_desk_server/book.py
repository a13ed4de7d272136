"""The book: one row for every effect the desk has had, for counting."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

BOOK_SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (
    n       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,  -- freeze, ticket, refund, message
    subject TEXT NOT NULL,  -- card, customer, payment, receiver
    ref     TEXT,           -- the client's own mark: a ticket's ref, a refund's idempotency key
    body    TEXT NOT NULL,  -- JSON: what was asked for
    at      TEXT NOT NULL   -- ISO 8601, UTC
);
CREATE INDEX IF NOT EXISTS effects_by_subject ON effects (kind, subject);
CREATE INDEX IF NOT EXISTS effects_by_ref ON effects (ref);
"""


class EffectKind(StrEnum):
    """What the desk can do to the world."""

    FREEZE = "freeze"
    TICKET = "ticket"
    REFUND = "refund"
    MESSAGE = "message"


class Effect(BaseModel):
    """A row of the book; `n` counts from 1 and is never used again."""

    n: int
    kind: EffectKind
    subject: str
    ref: str | None
    body: dict[str, Any]
    at: datetime


class Book:
    """Writes and counts effects. A row is written in the caller's transaction: no effect goes unrecorded."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def record(self, kind: EffectKind, subject: str, body: Mapping[str, object], *, ref: str | None = None) -> int:
        """Add an effect; its number."""
        cursor = self._connection.execute(
            "INSERT INTO effects (kind, subject, ref, body, at) VALUES (?, ?, ?, ?, ?)",
            (kind, subject, ref, json.dumps(body), now()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def search(
        self, *, kind: EffectKind | None = None, subject: str | None = None, ref: str | None = None
    ) -> list[Effect]:
        """The effects that fit all filters given, oldest first."""
        rows = self._connection.execute(
            "SELECT n, kind, subject, ref, body, at FROM effects WHERE (:kind IS NULL OR kind = :kind)"
            " AND (:subject IS NULL OR subject = :subject) AND (:ref IS NULL OR ref = :ref) ORDER BY n",
            {"kind": kind, "subject": subject, "ref": ref},
        )
        return [
            Effect(n=n, kind=kind, subject=subject, ref=ref, body=json.loads(body), at=at)
            for n, kind, subject, ref, body, at in rows
        ]

    def counts(self) -> dict[EffectKind, int]:
        """How many effects there are of each kind, zeros included."""
        rows = self._connection.execute("SELECT kind, count(*) FROM effects GROUP BY kind")
        return dict.fromkeys(EffectKind, 0) | {EffectKind(kind): count for kind, count in rows}

    def counts_by_subject(self) -> dict[EffectKind, dict[str, int]]:
        """How many effects of each kind each subject has had."""
        counts: dict[EffectKind, dict[str, int]] = {kind: {} for kind in EffectKind}
        rows = self._connection.execute("SELECT kind, subject, count(*) FROM effects GROUP BY kind, subject")
        for kind, subject, count in rows:
            counts[EffectKind(kind)][subject] = count
        return counts


def now() -> str:
    """The current time as the desk writes it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
