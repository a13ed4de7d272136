"""Showing how a run came out, and what it waits for."""

from __future__ import annotations

from typing import Any

from perron.cli.failure import DONE, FAILED, WAITING
from perron.cli.output import compact, plain, print_json, print_json_line, say, short_id, shorten
from perron.core.result import RunResult, Waiting

_FLAGS = {
    "approve": "--approve",
    "reject": '--reject --reason "…"',
    "respond": "--value JSON",
    "edit": "--decision edit --value JSON",
    "give_result": "--decision give_result --value JSON",
}


def exit_code(result: RunResult) -> int:
    """Return 0 for done, 3 for waiting, 1 for everything else."""
    if result.status != "success":
        return FAILED
    return WAITING if result.waiting else DONE


def show_result(result: RunResult, *, as_json: bool, is_last_line: bool = False) -> int:
    """Print a result and return the exit code; as the last line of a stream it is one line of JSON."""
    if as_json and is_last_line:
        print_json_line({"id": None, "event": "result", "namespace": "", "data": as_row(result)})
    elif as_json:
        print_json(as_row(result))
    else:
        _show(result)
    return exit_code(result)


def as_row(result: RunResult) -> dict[str, Any]:
    """Return what programs get of a result."""
    return {
        "run_id": result.run_id,
        "thread_id": result.thread_id,
        "status": result.status,
        "output": result.output,
        "error": result.error,
        "waiting": [
            {
                "id": ask.id,
                "kind": ask.kind,
                "question": ask.question,
                "args": ask.args,
                "decisions": list(ask.decisions),
                "schema": ask.schema,
            }
            for ask in result.waiting
        ],
    }


def answer_commands(ask_id: Any, decisions: list[str]) -> list[str]:
    """Return the commands that answer an ask, the most likely first."""
    return [f"perron answer {short_id(ask_id)} {_FLAGS.get(d, f'--decision {d}')}" for d in decisions]


def _show(result: RunResult) -> None:
    if isinstance(result.output, str):
        say(result.output)
    elif result.output or (result.output is not None and not result.waiting):
        print_json(result.output)
    for ask in result.waiting:
        _show_ask(ask)
    if result.status != "success":
        error = result.error or {}
        reason = f": {error.get('error')}: {error.get('message')}" if error else ""
        ended = {"interrupted": "was cancelled", "timeout": "took too long"}.get(result.status, "failed")
        say(f"The run {ended}{plain(reason)}")
        say(f"  perron runs show {result.run_id}")
        say(f"  perron runs retry {result.run_id}")
    say(f"run {result.run_id}  thread {result.thread_id}")


def _show_ask(ask: Waiting) -> None:
    say(f"Waiting for a person ({ask.kind.replace('_', ' ')}): {ask.question}")
    if ask.args not in (None, [], {}):
        say(f"  {shorten(compact(ask.args), 300)}")
    for command in answer_commands(ask.id, list(ask.decisions)):
        say(f"  {command}")
