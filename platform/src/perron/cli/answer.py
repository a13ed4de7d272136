"""`perron answer`: answer an ask, and let its run go on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perron.cli.given import read_json
from perron.cli.options import AsJson
from perron.cli.output import progress
from perron.cli.result import show_result
from perron.cli.session import execute
from perron.core.platform import Platform
from perron.core.result import RunResult
from perron.errors import InvalidInputError
from perron.models.ask import Ask
from perron.services.answer import Answer

app = typer.Typer()

_TAKES_VALUE = ("respond", "edit", "give_result")


@app.command()
def answer(
    ask: Annotated[str, typer.Argument(metavar="ASK", help="The ask's id, or its last 8 digits.")],
    approve: Annotated[bool, typer.Option("--approve", help="Let it be done.")] = False,
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why not; the agent sees it.")
    ] = None,
    value: Annotated[
        str | None, typer.Option("--value", metavar="JSON|@FILE|-", help="The value that was asked for.")
    ] = None,
    decision: Annotated[
        str | None, typer.Option("--decision", metavar="NAME", help="Any other decision that the ask takes.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Answer an ask and run its thread on; `perron asks show ASK` says which decisions it takes.

    Exit code: 0 done, 1 failed, 3 waiting for a person again.
    """
    if approve + reject + (decision is not None) > 1:
        raise InvalidInputError("An ask takes one decision: give --approve, --reject or --decision, not several.")
    if reason is not None and not reject:
        raise InvalidInputError("--reason goes with --reject.")
    if reason is not None and value is not None:
        raise InvalidInputError("--reason is the value of --reject: leave --value out.")
    said: Any = read_json(value, option="value") if reason is None else reason
    named = "approve" if approve else "reject" if reject else decision

    async def work(platform: Platform) -> RunResult:
        row = await platform.asks.get(platform.caller, ask)
        decided = Answer(named or _decision_of_value(row, is_given=value is not None), said)
        with progress("Going on …"):
            return await platform.resume(row.thread_id, {row.ask_id: decided})

    return show_result(execute(work), as_json=as_json)


def _decision_of_value(ask: Ask, *, is_given: bool) -> str:
    """Return the decision that a bare `--value` stands for.

    Raises:
        InvalidInputError: There is none, or the ask takes no value.
    """
    offered = ", ".join(ask.decisions)
    if not is_given:
        raise InvalidInputError(f"Say what to answer: --approve, --reject, --value or --decision ({offered}).")
    for decision in _TAKES_VALUE:
        if decision in ask.decisions:
            return decision
    raise InvalidInputError(f"The ask {ask.ask_id} takes no value; it takes {offered}.")
