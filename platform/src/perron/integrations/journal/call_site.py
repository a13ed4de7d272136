"""Where and with what a call is made: what all parts of the journal need of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from perron.database.encoding import clean
from perron.errors import SealError
from perron.ids import AttemptId, CallId
from perron.integrations.exchange import CallSpec, Outgoing
from perron.integrations.journal.ledger import Ledger
from perron.integrations.redact import redact
from perron.integrations.run.context import RunContext, TaskRef
from perron.integrations.run.node_attempt import NodeAttempt
from perron.integrations.run.slot import Slot
from perron.integrations.sealing.thread_seal import ThreadSeal


@dataclass(frozen=True)
class CallSite:
    """A use of an operation or effect in the code of a node."""

    ledger: Ledger
    context: RunContext
    task: TaskRef
    attempt: NodeAttempt
    spec: CallSpec
    arguments: Mapping[str, Any]
    fingerprint: bytes
    """HMAC of the canonical arguments."""

    @cached_property
    def shown_arguments(self) -> Any:
        """The arguments as people see them."""
        return redact(clean(self.arguments)[0], self.spec.redact)

    @property
    def seal(self) -> ThreadSeal:
        """The thread's seal; the journal loads it before a call is looked up."""
        if self.context.seal is None:
            raise SealError("The thread's key is not loaded.")
        return self.context.seal

    def slot(self, place: str) -> Slot:
        """Return the slot of a place in the calling task."""
        task = self.task
        return Slot(self.context.thread_id, task.task_id, task.tool_call_id, self.spec.key, place)

    def call_row(self, call_id: CallId, slot: Slot, state: str) -> dict[str, Any]:
        """Return the columns of a new call."""
        spec, context, task = self.spec, self.context, self.task
        return {
            "call_id": call_id,
            "tenant": context.caller.tenant,
            "owner": context.caller.principal,
            "thread_id": slot.thread_id,
            "run_id": context.run_id,
            "task_id": slot.task_id,
            "tool_call_id": slot.tool_call_id,
            "operation": slot.operation,
            "slot": slot.place,
            "checkpoint_ns": slot.namespace(task.checkpoint_ns),
            "checkpoints": dict(task.checkpoints),
            "node": task.node,
            "fingerprint": self.fingerprint,
            "effect": spec.effect,
            "repeat": spec.repeat.name if spec.repeat is not None else "read",
            "state": state,
            "plugin_version": spec.plugin_version,
            "idempotency_key": None if spec.effect == "read" else str(call_id),
            "arguments": self.shown_arguments,
        }

    def attempt_row(
        self, call_id: CallId, attempt_id: AttemptId, out: Outgoing, *, outcome: str
    ) -> dict[str, Any]:
        """Return the columns of a new attempt."""
        return {
            "attempt_id": attempt_id,
            "call_id": call_id,
            "run_id": self.context.run_id,
            "epoch": self.context.epoch,
            "worker_id": self.context.worker_id,
            "method": out.method,
            "host": out.host,
            "path": out.path,
            "timeout_s": out.timeout_s,
            "outcome": outcome,
            "request_body": clean(out.body)[0],
        }
