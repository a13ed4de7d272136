"""How the steps follow each other."""

from langgraph.graph import END, START, StateGraph

from perron_agent_triage import steps
from perron_agent_triage.config import Context
from perron_agent_triage.state import Request, Result, State

_STEP_OF_ACTION = {
    "freeze_card": "freeze_card",
    "refund": "choose_payment",
    "refund_duplicate": "choose_payment",
    "open_ticket": "open_ticket",
}
_NEXT_STEPS = ["freeze_card", "choose_payment", "open_ticket", "send_message", END]


def next_step(state: State) -> str:
    """The step of the plan's next action; then the message, if there is somebody to write to."""
    if state["plan"]:
        return _STEP_OF_ACTION[state["plan"][0]]
    return "send_message" if state["profile"] else END


def after_choice(state: State) -> str:
    """Pay, ask a person first, or hand over to one."""
    if state["refund_plan"] is None:
        return "open_ticket"
    return "ask_for_refund" if state["refund_plan"]["needs_approval"] else "refund"


def after_ask(state: State) -> str:
    """Pay what was approved; go on with the plan otherwise."""
    return next_step(state) if state["is_refund_refused"] else "refund"


def build() -> StateGraph[State, Context, Request, Result]:
    """Lay out the steps; the platform compiles them with its checkpointer."""
    graph = StateGraph(State, context_schema=Context, input_schema=Request, output_schema=Result)
    graph.add_node("decide", steps.decide)
    graph.add_node("look_up_customer", steps.look_up_customer)
    graph.add_node("freeze_card", steps.freeze_card)
    graph.add_node("choose_payment", steps.choose_payment)
    graph.add_node("ask_for_refund", steps.ask_for_refund)
    graph.add_node("refund", steps.refund)
    graph.add_node("open_ticket", steps.open_ticket)
    graph.add_node("send_message", steps.send_message)

    graph.add_edge(START, "decide")
    graph.add_edge("decide", "look_up_customer")
    graph.add_conditional_edges("choose_payment", after_choice, ["refund", "ask_for_refund", "open_ticket"])
    graph.add_conditional_edges("ask_for_refund", after_ask, ["refund", *_NEXT_STEPS])
    for step in ("look_up_customer", "freeze_card", "refund", "open_ticket"):
        graph.add_conditional_edges(step, next_step, _NEXT_STEPS)
    graph.add_edge("send_message", END)
    return graph
