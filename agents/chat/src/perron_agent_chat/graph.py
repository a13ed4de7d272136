"""The chat: the model answers, or calls tools and goes on."""

from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime

from perron import settings, tools
from perron_agent_chat.config import Config, Context
from perron_agent_chat.model import open_model
from perron_desk import Desk

USES = (Desk.customer, Desk.tickets, Desk.open_ticket, Desk.freeze_card, Desk.refund, Desk.send_message)


async def respond(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Let the model answer or call tools; after too many rounds it has none left to call."""
    config = settings(Config)
    model = open_model(runtime.context, config)
    prompt = (runtime.context or {}).get("system_prompt") or config.system_prompt
    asked = [SystemMessage(prompt), *state["messages"]]
    allowed = allowed_tools(config) if tool_rounds(state["messages"]) < config.max_tool_rounds else []
    answer = await (model.bind_tools(allowed) if allowed else model).ainvoke(asked)
    return {"messages": [answer]}


async def call_tools(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """Make the calls that the model asks for; one that it may not make, or that fails, it is told of."""
    node = ToolNode(allowed_tools(settings(Config)))
    called: dict[str, Any] = await node.ainvoke(state, config)
    return called


def after_respond(state: MessagesState) -> str:
    """Call tools when the model wants to; it has answered otherwise."""
    last = state["messages"][-1]
    return "call_tools" if isinstance(last, AIMessage) and last.tool_calls else END


def allowed_tools(config: Config) -> list[BaseTool]:
    """The tools for those of the agent's operations that the settings allow."""
    return [tool for tool in tools(*USES) if (tool.metadata or {}).get("operation") in config.operations]


def tool_rounds(messages: list[AnyMessage]) -> int:
    """How often the model has called tools since a person wrote last."""
    rounds = 0
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            break
        rounds += isinstance(message, AIMessage) and bool(message.tool_calls)
    return rounds


def build() -> StateGraph[MessagesState, Context]:
    """Lay out the graph; the platform compiles it with its checkpointer."""
    graph = StateGraph(MessagesState, context_schema=Context)
    graph.add_node("respond", respond)
    graph.add_node("call_tools", call_tools)
    graph.add_edge(START, "respond")
    graph.add_conditional_edges("respond", after_respond, ["call_tools", END])
    graph.add_edge("call_tools", "respond")
    return graph
