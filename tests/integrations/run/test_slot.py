"""Slots: the place of a call in its thread."""

from __future__ import annotations

from dataclasses import replace

from perron.ids import ThreadId, new_id
from perron.integrations.run.slot import Slot, family

SLOT = Slot(ThreadId(new_id()), "task", "tool", "desk.refund", "#1")


def test_the_interrupts_id_is_one_of_langgraphs_form_and_stays_the_same() -> None:
    assert SLOT.interrupt_id == replace(SLOT).interrupt_id
    assert len(SLOT.interrupt_id) == 32
    assert int(SLOT.interrupt_id, 16)


def test_every_part_of_a_slot_counts() -> None:
    others = [
        replace(SLOT, thread_id=ThreadId(new_id())),
        replace(SLOT, task_id="task-2"),
        replace(SLOT, tool_call_id="tool-2"),
        replace(SLOT, operation="desk.refund2"),
        replace(SLOT, place="#2"),
        replace(SLOT, task_id="tas", tool_call_id="ktool"),
    ]

    assert len({slot.interrupt_id for slot in [SLOT, *others]}) == 7


def test_places_beside_each_other_are_one_family_and_keys_are_none() -> None:
    assert family("#1/2") == family("#1") == "#1"
    assert family("=a/b") == "=a/b"


def test_an_answer_under_a_key_is_cleared_by_no_namespace() -> None:
    assert SLOT.namespace("sub:1") == "sub:1"
    assert replace(SLOT, place="=order").namespace("sub:1") == "*"
