"""Sealed answers open in their own row, and only with the thread's key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from perron.errors import SealError, ThreadNotFoundError
from perron.ids import ThreadId, new_id
from perron.integrations.exchange import Exchange
from perron.integrations.sealing.envelope import new_data_key
from perron.integrations.sealing.key_ring import KeyRing
from perron.integrations.sealing.thread_seal import ThreadSeal
from perron.repositories.journal import JournalRepository

if TYPE_CHECKING:
    from tests.integrations.conftest import ThreadDriver

    from perron.database.engine import Database

ANSWERS = [Exchange(201, {"x": "1"}, b"\x00\xffbody"), Exchange(204, {}, b"")]


def test_answers_come_back_as_they_were() -> None:
    seal, call_id = ThreadSeal(new_data_key()), new_id()

    assert seal.open(seal.seal(ANSWERS, call_id), call_id) == ANSWERS


def test_another_row_or_another_thread_opens_nothing() -> None:
    seal, call_id = ThreadSeal(new_data_key()), new_id()
    sealed = seal.seal(ANSWERS, call_id)

    with pytest.raises(SealError):
        seal.open(sealed, new_id())
    with pytest.raises(SealError):
        ThreadSeal(new_data_key()).open(sealed, call_id)


async def test_a_thread_has_one_key(thread: ThreadDriver) -> None:
    keys, call_id = KeyRing(os.urandom(32)), new_id()
    seals = []
    for _ in range(2):
        async with thread.database.begin() as session:
            repository = JournalRepository(session, schema="perron")
            seals.append(await ThreadSeal.load(repository, keys, thread.thread_id))

    assert seals[1].open(seals[0].seal(ANSWERS, call_id), call_id) == ANSWERS


async def test_a_key_that_another_process_made_first_is_taken(thread: ThreadDriver) -> None:
    async with thread.database.begin() as session:
        repository = JournalRepository(session, schema="perron")

        assert await repository.set_data_key(thread.thread_id, b"first") == b"first"
        assert await repository.set_data_key(thread.thread_id, b"second") == b"first"


async def test_a_thread_that_was_deleted_has_no_key(database: Database) -> None:
    async with database.begin() as session:
        with pytest.raises(ThreadNotFoundError):
            await JournalRepository(session, schema="perron").get_data_key(ThreadId(new_id()))
