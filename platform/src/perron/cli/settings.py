"""`perron settings`: what operators and users change while the platform runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from perron.cli.group import new_group
from perron.cli.options import AsJson
from perron.cli.output import print_fields, print_json, print_rows, say
from perron.cli.session import read
from perron.core.platform import Platform
from perron.errors import AgentNotFoundError, InvalidInputError, UnknownNameError
from perron.services.setting import SettingView

app = new_group("Settings that change while the platform runs.")

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="As the list shows it, or with --agent or --integration its last part."),
]
ForAgent = Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="A setting of this agent.")]
ForIntegration = Annotated[
    str | None, typer.Option("--integration", metavar="KEY", help="A setting of this integration.")
]
ForUser = Annotated[bool, typer.Option("--user", help="For yourself alone, where the setting allows that.")]


@app.command("list")
def list_settings(agent: ForAgent = None, integration: ForIntegration = None, as_json: AsJson = False) -> None:
    """List settings with their values and where those come from."""
    prefix = _full("", agent, integration)

    async def work(platform: Platform) -> Sequence[SettingView]:
        registry = platform.registry
        if agent is not None and agent not in registry.agents:
            raise AgentNotFoundError(agent, registry.agents)
        if integration is not None and integration not in registry.integrations:
            raise UnknownNameError("integration", integration, registry.integrations)
        return await platform.live_settings.list(platform.caller)

    print_rows(
        [_row(view) for view in read(work) if view.name.startswith(prefix)],
        {"setting": "name", "value": "value", "from": "source", "meaning": "description"},
        as_json=as_json,
        empty="It declares no settings.",
    )


@app.command()
def get(name: Name, agent: ForAgent = None, integration: ForIntegration = None, as_json: AsJson = False) -> None:
    """Show a setting."""
    view = read(lambda platform: platform.live_settings.get(platform.caller, _full(name, agent, integration)))
    print_fields(_row(view), as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="Text, or JSON where the setting's type wants it.")
    ],
    agent: ForAgent = None,
    integration: ForIntegration = None,
    user: ForUser = False,
    as_json: AsJson = False,
) -> None:
    """Set a value in the database; runs that are created from now on have it."""
    full = _full(name, agent, integration)
    view = read(lambda platform: platform.live_settings.set(platform.caller, full, value, for_user=user))
    if as_json:
        print_json(_row(view))
    else:
        say(f"{view.name} is {_shown(view.value)} now.")


@app.command()
def unset(
    name: Name,
    agent: ForAgent = None,
    integration: ForIntegration = None,
    user: ForUser = False,
    as_json: AsJson = False,
) -> None:
    """Take a value out of the database, so that environment, TOML or default count again."""
    full = _full(name, agent, integration)

    async def work(platform: Any) -> tuple[bool, SettingView]:
        was_set = await platform.live_settings.unset(platform.caller, full, for_user=user)
        return was_set, await platform.live_settings.get(platform.caller, full)

    was_set, view = read(work)
    if as_json:
        print_json({**_row(view), "was_set": was_set})
    else:
        said = "is" if was_set else "was not set in the database; it is"
        say(f"{view.name} {said} {_shown(view.value)} ({view.source}).")


@app.command()
def history(
    name: Name,
    agent: ForAgent = None,
    integration: ForIntegration = None,
    user: ForUser = False,
    as_json: AsJson = False,
) -> None:
    """List the changes of a setting, newest first."""
    full = _full(name, agent, integration)
    changes = read(lambda platform: platform.live_settings.history(platform.caller, full, for_user=user))
    rows = [
        {
            "old_value": c.old_value,
            "new_value": c.new_value,
            "changed_by": c.changed_by,
            "created_at": c.created_at,
        }
        for c in changes
    ]
    print_rows(
        rows,
        {"was": "old_value", "became": "new_value", "by": "changed_by", "when": "created_at"},
        as_json=as_json,
        empty=f"{full} has never been set in the database.",
    )


def _full(name: str, agent: str | None, integration: str | None) -> str:
    if agent and integration:
        raise InvalidInputError("A setting belongs to an agent or to an integration: give one of the two options.")
    scope = f"agent.{agent}." if agent else f"integration.{integration}." if integration else ""
    return name if name.startswith(scope) else f"{scope}{name}"


def _row(view: SettingView) -> dict[str, Any]:
    return {
        "name": view.name,
        "value": _shown(view.value),
        "source": view.source,
        "default": _shown(view.default),
        "is_users": view.is_users,
        "description": view.description,
    }


def _shown(value: Any) -> Any:
    """Return a value fit to print: secrets and paths as they show themselves."""
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)
