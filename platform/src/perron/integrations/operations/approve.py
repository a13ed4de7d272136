"""`approve(...)`: a node asks a person before it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter

from perron.errors import DefinitionError
from perron.integrations.exchange import APPROVED, ActiveCall, BeforeBytes, CallSpec, Exchange, Outgoing
from perron.integrations.operations.invocation import refuse_loop
from perron.integrations.repeat import AskPerson
from perron.integrations.run.context import current_run

T = TypeVar("T")

KEY = "approve"


class Approve:
    """Ask a person: `await approve("Refund?", args=state)`, in sync code `approve.sync("Refund?", args=state)`."""

    def __call__(self, question: str, *, args: T) -> Coroutine[Any, Any, T]:
        """Stop the run until a person has decided.

        Args:
            question: One short sentence.
            args: What is to be done; people see it without what is named like a secret, and may edit it.

        Returns:
            `args` as they were approved. Edited ones come as JSON values, for a pydantic model as that model.

        Raises:
            Rejected: A person said no; the message is theirs.
            OutsidePlatformError: There is no run.
        """
        pending = current_run("`approve`").journal.begin(_spec(args), {"question": question, "args": args})

        async def body(call: ActiveCall) -> T:
            decided = await call.send(_NOTHING, _unused)
            if decided.status == APPROVED:
                return args
            edited: T = _output(args).validate_json(decided.body)
            return edited

        return pending.run(body)

    def sync(self, question: str, *, args: T) -> T:
        """Do the same in a sync node or tool; it blocks its thread only for as long as the answer is looked up."""
        context = current_run("`approve`")
        refuse_loop(KEY)
        return asyncio.run_coroutine_threadsafe(self(question, args=args), context.loop).result()


approve = Approve()

_NOTHING = Outgoing(None, None, None, None, 0.0)


async def _unused(before_bytes: BeforeBytes) -> Exchange:
    raise DefinitionError("An approval sends nothing.")


def _output(args: object) -> TypeAdapter[Any]:
    return TypeAdapter(type(args) if isinstance(args, BaseModel) else Any)


def _spec(args: object) -> CallSpec:
    return CallSpec(key=KEY, effect="update", repeat=AskPerson(), output=_output(args), is_approval=True)
