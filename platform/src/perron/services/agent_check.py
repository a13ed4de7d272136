"""`AgentCheckService`: what waiting threads need and an agent, as it is installed now, does not have any more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from perron.caller import Caller
from perron.database.engine import Database
from perron.integrations.operations import approve
from perron.integrations.operations.effect import declared_effects
from perron.integrations.operations.operation import operations_of
from perron.plugins.registry import Registry
from perron.repositories.standing import StandingRepository
from perron.runtime.graph import open_graph
from perron.runtime.standing import gone_nodes, next_nodes, places_of, read_channel


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that a waiting thread needs, and that is gone."""

    kind: Literal["node", "operation"]
    name: str
    thread_id: UUID
    run_id: UUID | None
    """The head of the thread's line, or its last run; of an operation the run that made the call."""
    checkpoint_ns: str
    """Of a node: the namespace of its graph, empty for the root."""
    call_id: UUID | None
    call_state: str | None
    advice: str


class AgentCheckService:
    """For deploying a new version of an agent under threads that wait."""

    def __init__(self, database: Database, registry: Registry, *, langgraph_schema: str) -> None:
        self._database = database
        self._registry = registry
        self._langgraph_schema = langgraph_schema

    async def check(self, caller: Caller, name: str) -> AsyncIterator[Missing]:
        """Yield what is missing, in little memory however many threads wait. Looks only, and at no running code.

        Threads count that wait for a person or have a run in line that goes on where they stand.

        Raises:
            AgentNotFoundError: There is no such agent here.
            AgentError: Its graph cannot be built.
        """
        async with open_graph(self._registry.get_agent(name), access="assistants.read") as graph:
            places = places_of(graph)
        operations = {approve.KEY, *declared_effects()}
        for integration in self._registry.integrations.values():
            operations.update(operation.key for operation in operations_of(integration).values())
        async with self._database.begin() as session:
            standing = StandingRepository(
                session, caller, schema=self._database.schema, langgraph_schema=self._langgraph_schema
            )
            async for row in standing.stream_channels(name):
                nodes = next_nodes({row.channel: read_channel(row.encoding, row.blob)})
                for node in gone_nodes(places, row.checkpoint_ns, nodes):
                    yield Missing(
                        "node",
                        node,
                        row.thread_id,
                        row.run_id,
                        row.checkpoint_ns,
                        None,
                        None,
                        _NODE.format(name=name),
                    )
            async for call in standing.stream_unsettled(name):
                if call.operation not in operations:
                    yield Missing(
                        "operation",
                        call.operation,
                        call.thread_id,
                        call.run_id,
                        "",
                        call.call_id,
                        call.state,
                        _OPERATION[call.state].format(operation=call.operation, call_id=call.call_id),
                    )


_NODE = (
    "Keep the node until its threads have gone on, or give them new input: a run that resumes one of them fails "
    "as long as {name} has no such node."
)
_OPERATION = {
    "begun": "Nothing was done: the new code decides what to do instead.",
    "sent": "Keep {operation} until the run has settled it; without it, look at the other side: "
    "`perron calls show {call_id}`.",
    "in_doubt": "Answer it and let the run go on before {operation} goes: `perron calls show {call_id}`.",
}
"""By the call's state."""
