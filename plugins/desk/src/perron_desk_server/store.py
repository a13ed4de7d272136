"""The desk's state in one SQLite file: tickets, refunds' answers, frozen cards and the book."""

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from perron_desk_server.book import BOOK_SCHEMA, Book, EffectKind, now
from perron_desk_server.errors import KeyReusedError

KEY_TTL = timedelta(hours=24)

_SCHEMA = (
    BOOK_SCHEMA
    + """
CREATE TABLE IF NOT EXISTS tickets (
    n INTEGER PRIMARY KEY, customer TEXT NOT NULL, subject TEXT NOT NULL, text TEXT NOT NULL,
    ref TEXT, state TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS tickets_by_ref ON tickets (ref);
CREATE TABLE IF NOT EXISTS refund_answers (
    key TEXT PRIMARY KEY, payment TEXT NOT NULL, amount_cents INTEGER NOT NULL,
    answer TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS frozen_cards (id TEXT PRIMARY KEY);
"""
)

TicketState = Literal["open", "closed"]


class Ticket(BaseModel):
    """A ticket as stored."""

    id: str
    customer: str
    subject: str
    text: str
    ref: str | None
    state: TicketState
    created_at: datetime


class Refund(BaseModel):
    """A refund as made."""

    id: str
    payment: str
    amount_cents: int
    created_at: datetime


class Message(BaseModel):
    """A message as sent."""

    id: str
    to: str
    text: str
    created_at: datetime


class Store:
    """One connection used by one thread. What a method has done is committed when it returns.

    In WAL mode with `synchronous=NORMAL` a commit outlives the death of the process (not of the machine), takes
    some tens of microseconds, and others may read the file meanwhile. So the event loop calls it directly.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, and make it if there is none.

        Raises:
            sqlite3.Error: The file cannot be opened or is no database.
        """
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)
        self.book = Book(self._connection)

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        self._connection.close()

    def reset(self) -> None:
        """Forget everything: the book, tickets, refunds with their keys, frozen cards. Numbers go on."""
        with self._transaction() as connection:
            for table in ("effects", "tickets", "refund_answers", "frozen_cards"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608  # a fixed list

    def open_ticket(
        self, *, customer: str, subject: str, text: str, ref: str | None, state: TicketState
    ) -> Ticket:
        """Add a ticket: a new one each time, whatever its `ref`."""
        created_at = now()
        body = {"customer": customer, "subject": subject, "text": text, "ref": ref, "state": state}
        with self._transaction() as connection:
            n = self.book.record(EffectKind.TICKET, customer, body, ref=ref)
            row = (n, customer, subject, text, ref, state, created_at)
            connection.execute("INSERT INTO tickets VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return _ticket(row)

    def search_tickets(
        self, *, state: TicketState | None, ref: str | None, offset: int, limit: int
    ) -> list[Ticket]:
        """Tickets that fit all filters given, newest first."""
        rows = self._connection.execute(
            "SELECT n, customer, subject, text, ref, state, created_at FROM tickets"
            " WHERE (:state IS NULL OR state = :state) AND (:ref IS NULL OR ref = :ref)"
            " ORDER BY n DESC LIMIT :limit OFFSET :offset",
            {"state": state, "ref": ref, "limit": limit, "offset": offset},
        )
        return [_ticket(row) for row in rows]

    def freeze_card(self, card_id: str) -> None:
        """Freeze a card; a frozen one stays frozen, and the book counts each time."""
        with self._transaction() as connection:
            self.book.record(EffectKind.FREEZE, card_id, {"card": card_id})
            connection.execute("INSERT OR IGNORE INTO frozen_cards VALUES (?)", (card_id,))

    def find_frozen(self, card_ids: Iterable[str]) -> set[str]:
        """Those of the cards that are frozen."""
        rows = self._connection.execute(
            "SELECT id FROM frozen_cards WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(card_ids)),),
        )
        return {card_id for (card_id,) in rows}

    def refund(self, payment: str, amount_cents: int, *, key: str | None) -> Refund:
        """Make a refund; the key and its answer are kept with it, in one transaction."""
        with self._transaction() as connection:
            created_at = now()
            body = {"payment": payment, "amount_cents": amount_cents}
            n = self.book.record(EffectKind.REFUND, payment, body, ref=key)
            refund = Refund.model_validate({"id": f"r-{n}", **body, "created_at": created_at})
            if key is not None:
                connection.execute(
                    "INSERT INTO refund_answers VALUES (?, ?, ?, ?, ?)",
                    (key, payment, amount_cents, refund.model_dump_json(), created_at),
                )
        return refund

    def find_refund(self, payment: str, amount_cents: int, *, key: str) -> Refund | None:
        """The refund that was made under this key in the last 24 hours.

        Raises:
            KeyReusedError: The key belongs to another payment or amount.
        """
        oldest = (datetime.now(UTC) - KEY_TTL).isoformat(timespec="milliseconds")
        self._connection.execute("DELETE FROM refund_answers WHERE key = ? AND created_at < ?", (key, oldest))
        row = self._connection.execute(
            "SELECT payment, amount_cents, answer FROM refund_answers WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return None
        if row[:2] != (payment, amount_cents):
            raise KeyReusedError(key)
        return Refund.model_validate_json(row[2])

    def send_message(self, *, to: str, text: str) -> Message:
        """Send a message: a new one each time."""
        created_at = now()
        with self._transaction():
            n = self.book.record(EffectKind.MESSAGE, to, {"to": to, "text": text})
        return Message.model_validate({"id": f"m-{n}", "to": to, "text": text, "created_at": created_at})

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _ticket(row: tuple[int, str, str, str, str | None, str, str]) -> Ticket:
    n, customer, subject, text, ref, state, created_at = row
    return Ticket.model_validate(
        {
            "id": f"t-{n}",
            "customer": customer,
            "subject": subject,
            "text": text,
            "ref": ref,
            "state": state,
            "created_at": created_at,
        }
    )
