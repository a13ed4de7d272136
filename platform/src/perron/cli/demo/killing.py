"""The second act: three processes are killed when the desk has acted and nobody has heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from perron.cli.demo.desk import Desk
from perron.cli.demo.inbox import MESSAGE, PLAIN_PAYMENT, REFUND, REFUND_CENTS, REFUND_PAYMENT
from perron.cli.demo.stage import Stage
from perron.cli.demo.victim import Victim, perron_run, plain_run
from perron.core.platform import Platform
from perron.errors import PerronError
from perron.ids import new_id

_HELD_TIMEOUT_S = 90.0
_PLAIN_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Killed:
    """What the dead have left behind."""

    refund_thread: UUID
    message_thread: UUID
    receiver: str
    """Whom the message went to."""


async def kill_in_between(platform: Platform, desk: Desk, stage: Stage, home: Path) -> Killed:
    """Start two runs and a plain graph, kill all three between effect and record, and let the plain one resume.

    Raises:
        PerronError: They do not get that far.
    """
    stage.begin("kill -9 between the desk's effect and our record")
    refund_thread, message_thread = new_id(), new_id()
    plain = _plain_environment(platform, desk)
    async with AsyncExitStack() as stack:
        await desk.hold_answers("POST /payments/*/refunds", times=2)
        await desk.hold_answers("POST /messages", times=1)
        with stage.working("Starting `perron run` twice, and plain LangGraph, in processes of their own"):
            start = stack.enter_async_context
            refund = await start(perron_run(REFUND, refund_thread, log=home / "refund.log"))
            message = await start(perron_run(MESSAGE, message_thread, log=home / "message.log"))
            other = await start(plain_run("start", variables=plain, log=home / "plain.log"))
            await _kill_when_held(
                desk,
                {
                    f"POST /payments/{REFUND_PAYMENT}/refunds": refund,
                    "POST /messages": message,
                    f"POST /payments/{PLAIN_PAYMENT}/refunds": other,
                },
            )
    receiver = (await desk.book("message"))[-1]["subject"]
    stage.tell(f"perron run triage   a refund    the desk has paid, nobody knows yet   killed, pid {refund.pid}")
    stage.tell(f"perron run triage   a message   the desk has sent it, likewise        killed, pid {message.pid}")
    stage.tell(f"plain LangGraph     a refund    on AsyncPostgresSaver, likewise       killed, pid {other.pid}")
    with stage.working("Plain LangGraph resumes from its checkpoint in a new process"):
        async with plain_run("resume", variables=plain, log=home / "plain.log") as resumed:
            await resumed.finish(_PLAIN_TIMEOUT_S)
    stage.tell("Plain LangGraph was resumed from its checkpoint: its node ran again from the beginning.")
    return Killed(refund_thread, message_thread, receiver)


def _plain_environment(platform: Platform, desk: Desk) -> Mapping[str, str]:
    return {
        "DESK_URL": desk.url,
        "DESK_TOKEN": desk.token,
        "PLAIN_DATABASE": platform.database_url.psycopg,
        "PLAIN_PAYMENT": PLAIN_PAYMENT,
        "PLAIN_CENTS": str(REFUND_CENTS),
    }


async def _kill_when_held(desk: Desk, victims: Mapping[str, Victim]) -> None:
    """Kill each victim as soon as its request has had its effect and waits for the answer."""
    alive = dict(victims)
    try:
        async with asyncio.timeout(_HELD_TIMEOUT_S):
            while alive:
                for request in await desk.held(wait_s=0.5):
                    if request in alive:
                        await alive.pop(request).kill()
                if ended := next((victim for victim in alive.values() if victim.has_ended), None):
                    raise ended.failure()
    except TimeoutError:
        raise PerronError(f"The processes did not call the desk within {_HELD_TIMEOUT_S:g} s.") from None
