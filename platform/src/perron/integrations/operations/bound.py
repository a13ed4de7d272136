"""Operations on an integration that is open: `integration(Desk).refund`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Generic, ParamSpec, TypeVar

from perron.errors import Upstream
from perron.integrations.api.api import Api, FoundResult
from perron.integrations.api.direct_call import DirectCall
from perron.integrations.api.transport import is_http_error
from perron.integrations.exchange import FOUND, ActiveCall, CallSpec, Exchange
from perron.integrations.integration import Integration
from perron.integrations.operations.invocation import Invocation, permitted, refuse_loop
from perron.integrations.operations.listing import Listing
from perron.integrations.operations.signature import Plan
from perron.integrations.repeat import LookUp
from perron.integrations.run.context import RunContext

P = ParamSpec("P")
T = TypeVar("T")

AnyIntegration = Integration[Any, Any]


class BoundOperation(Invocation[P, T]):
    """An operation with the integration whose settings it uses."""

    def __init__(self, plan: Plan, integration: AnyIntegration) -> None:
        self.key = plan.spec.key
        self._plan = plan
        self._integration = integration

    def _begin(
        self, context: RunContext, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Coroutine[Any, Any, T]:
        return _Use(self._plan, self._integration, context, args, kwargs, once=self._once).result()


class BoundPages(Generic[P, T]):
    """A paged read with the integration whose settings it uses."""

    def __init__(self, plan: Plan, integration: AnyIntegration) -> None:
        self.key = plan.spec.key
        self._plan = plan
        self._integration = integration

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T]:
        """Read a list: `async for ticket in integration(Desk).tickets():`. Pages come as they are needed."""
        return _Use(self._plan, self._integration, permitted(self.key), args, kwargs).items()

    def sync(self, *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Read the whole list from a sync node or tool."""
        context = permitted(self.key)
        refuse_loop(self.key)
        use = _Use(self._plan, self._integration, context, args, kwargs)
        return asyncio.run_coroutine_threadsafe(use.all_items(), context.loop).result()


class _Use:
    """One use of an operation: its place in the journal is taken when it is made."""

    def __init__(
        self,
        plan: Plan,
        integration: AnyIntegration,
        context: RunContext,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        once: str | None = None,
    ) -> None:
        self._plan = plan
        self._integration = integration
        arguments = plan.signature.bind(args, kwargs)
        self._values = plan.signature.values(arguments)
        self._line = context.integrations.line(type(integration), integration.base_url, context.caller)
        spec = dataclasses.replace(
            plan.spec,
            plugin_version=context.integrations.version(integration.key),
            find=self._find if isinstance(plan.spec.repeat, LookUp) else None,
        )
        self._spec: CallSpec = spec
        self._pending = context.journal.begin(spec, arguments.model_dump(mode="json"), once=once)

    async def result(self) -> Any:
        """Make the call and return its result."""
        return await self._pending.run(self._call)

    async def items(self) -> AsyncGenerator[Any]:
        """Make the call and yield the list's items; the journal keeps their number."""
        listing: Listing[Any] = Listing()

        async def read(call: ActiveCall) -> dict[str, int]:
            count = 0
            async with aclosing(self._plan.function(self._integration, self._api(call), **self._values)) as found:
                async for item in found:
                    count += 1
                    if not await listing.put(self._plan.signature.fit(item)):
                        break
            return {"items": count}

        async with aclosing(listing.items(lambda: self._pending.run(read))) as items:
            async for item in items:
                yield item

    async def all_items(self) -> list[Any]:
        """Make the call and return the whole list."""
        return [item async for item in self.items()]

    async def _call(self, call: ActiveCall) -> Any:
        try:
            result = await self._plan.function(self._integration, self._api(call), **self._values)
        except FoundResult as found:
            return self._plan.signature.load(found.body)
        except Exception as exc:
            if is_http_error(exc):  # the author's own HTTP
                raise Upstream(
                    f"{self._spec.key}: the API does not answer.",
                    detail=f"{self._spec.key}: {type(exc).__name__}",
                    operation=self._spec.key,
                ) from exc
            raise
        return self._plan.signature.fit(result)

    async def _find(self, marker: str) -> Exchange | None:
        repeat = self._plan.spec.repeat
        assert isinstance(repeat, LookUp)
        reading = dataclasses.replace(self._plan.spec, effect="read", repeat=None)
        api = Api(DirectCall(self._spec.key, marker), reading, self._line)
        found = await repeat.finder(self._integration, api, marker)
        return None if found is None else Exchange(200, {FOUND: "1"}, self._plan.signature.dump(found))

    def _api(self, call: ActiveCall) -> Api:
        return Api(call, self._spec, self._line)
