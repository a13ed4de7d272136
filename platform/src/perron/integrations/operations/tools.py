"""`tools(...)`: operations and effects as LangChain tools for a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any, cast

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import ValidationError
from pydantic.v1 import ValidationError as OldValidationError
from pydantic_core import to_json

from perron.errors import DefinitionError, IntegrationError
from perron.integrations.api.answer import explain
from perron.integrations.operations.accessor import integration
from perron.integrations.operations.bound import BoundOperation, BoundPages
from perron.integrations.operations.effect import DeclaredEffect
from perron.integrations.operations.operation import Operation, PagedOperation

ITEMS = 100
"""How many items of a list a model is shown."""

Use = Callable[[], Any]


def tools(*used: Operation[..., Any] | PagedOperation[..., Any] | DeclaredEffect[..., Any]) -> list[BaseTool]:
    """Make tools for a model: `tools(Desk.customer, Desk.refund)`. Nothing is exposed that is not named.

    A tool is called `desk_refund`, after the operation's key. An `IntegrationError` becomes the tool's answer, in
    its short text that is safe for a model; what stops a run for a person goes on through.

    Raises:
        DefinitionError: Something named is no operation or effect, or two tools have one name.
    """
    made = [_tool(each) for each in used]
    names = [tool.name for tool in made]
    for name in names:
        if names.count(name) > 1:
            raise DefinitionError(f"Two of these tools are called {name!r}.")
    return cast("list[BaseTool]", made)


def _tool(used: object) -> StructuredTool:
    if isinstance(used, PagedOperation):
        return _make(used, lambda: _Pages(BoundPages(used.plan, integration(used.owner))))
    if isinstance(used, Operation):
        return _make(used, lambda: BoundOperation(used.plan, integration(used.owner)))
    if isinstance(used, DeclaredEffect):
        return _make(used, lambda: used)
    raise DefinitionError(f"{used!r} is no operation or effect: write tools(Desk.refund).")


def _make(
    used: Operation[..., Any] | PagedOperation[..., Any] | DeclaredEffect[..., Any], bound: Use
) -> StructuredTool:
    async def call(**arguments: Any) -> str:
        try:
            return _shown(await bound()(**arguments))
        except IntegrationError as exc:
            raise ToolException(exc.message) from exc

    def call_sync(**arguments: Any) -> str:
        try:
            return _shown(bound().sync(**arguments))
        except IntegrationError as exc:
            raise ToolException(exc.message) from exc

    return StructuredTool(
        name=used.key.replace(".", "_"),
        description=used.description,
        args_schema=used.arguments,
        coroutine=call,
        func=call_sync,
        handle_tool_error=True,
        handle_validation_error=_misfit,
        metadata={"operation": used.key},
    )


class _Pages:
    """A list's first items, as one result."""

    def __init__(self, pages: BoundPages[..., Any]) -> None:
        self._pages = pages

    async def __call__(self, **arguments: Any) -> dict[str, Any]:
        items: list[Any] = []
        async with aclosing(self._pages(**arguments)) as found:
            async for item in found:
                if len(items) == ITEMS:
                    return {"items": items, "has_more": True}
                items.append(item)
        return {"items": items, "has_more": False}

    def sync(self, **arguments: Any) -> dict[str, Any]:
        items = self._pages.sync(**arguments)
        return {"items": items[:ITEMS], "has_more": len(items) > ITEMS}


def _shown(result: object) -> str:
    if result is None:
        return "Done."
    return result if isinstance(result, str) else to_json(result).decode()


def _misfit(exc: ValidationError | OldValidationError) -> str:
    return explain(exc) if isinstance(exc, ValidationError) else str(exc)
