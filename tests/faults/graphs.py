"""The graphs whose processes are killed: what they do is counted in a real desk's book."""

from __future__ import annotations

import os
from itertools import pairwise
from operator import add
from typing import Annotated, Any

import httpx
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from perron import Agent, AskPerson, effect, integration, operation
from perron_desk.integration import Desk
from perron_desk.results import Message

TIMEOUT_S = 3.0
"""A successor waits for as long, and 5 s besides, before it settles what was sent."""


class QuickDesk(Desk):
    """The desk's own operations, with a deadline that tests can wait for."""

    customer = operation(effect="read", timeout_s=30.0)(Desk.customer.plan.function)
    freeze_card = operation(effect="update", repeat=Desk.freeze_card.repeat, timeout_s=TIMEOUT_S)(
        Desk.freeze_card.plan.function
    )
    refund = operation(effect="create", repeat=Desk.refund.repeat, timeout_s=TIMEOUT_S)(Desk.refund.plan.function)
    open_ticket = operation(effect="create", repeat=Desk.open_ticket.repeat, timeout_s=TIMEOUT_S)(
        Desk.open_ticket.plan.function
    )
    send_message = operation(effect="create", repeat=Desk.send_message.repeat, timeout_s=TIMEOUT_S)(
        Desk.send_message.plan.function
    )


@effect("faults.notify", repeat=AskPerson, thread=True, timeout_s=TIMEOUT_S, redact=("$.to",))
def notify(to: str, text: str, token: str) -> Message:
    """Send a message with a vendor's SDK, as the desk's own client would be."""
    url = os.environ["PERRON_INTEGRATION_DESK__BASE_URL"]
    answer = httpx.post(
        f"{url}/messages",
        json={"to": to, "text": text},
        headers={"Authorization": f"Bearer {token}"},
        timeout=TIMEOUT_S,
        verify=False,  # plain HTTP: making a TLS context takes longer than the call
    )
    return Message.model_validate(answer.raise_for_status().json())


class State(TypedDict, total=False):
    """What all these graphs know."""

    do: str
    result: Any
    log: Annotated[list[str], add]


CARD, PAYMENT, CUSTOMER, ADDRESS = "card-1-1", "pay-1-1", "c-1", "mara@mail.example"


async def act(state: State) -> State:
    """Make one call, of the class of repeat that the input names."""
    desk = integration(QuickDesk)
    made: BaseModel
    match state["do"]:
        case "Harmless":
            made = await desk.freeze_card(CARD)
        case "SameKey":
            made = await desk.refund(PAYMENT, 700)
        case "LookUp":
            made = await desk.open_ticket(CUSTOMER, "Lost card", "Please help")
        case "AskPerson":
            made = await desk.send_message(ADDRESS, "Your card is frozen.")
        case _:
            token = os.environ["PERRON_CONNECTION_DESK"]
            made = await notify(ADDRESS, "Your card is frozen.", token)
    return {"result": made.model_dump(mode="json"), "log": [made.model_dump()["id"]]}


def chain(*nodes: Any) -> StateGraph[State]:
    """Put nodes one after the other."""
    builder = StateGraph(State)
    names = [START, *(node.__name__ for node in nodes), END]
    for node in nodes:
        builder.add_node(node.__name__, node)
    for name, following in pairwise(names):
        builder.add_edge(name, following)
    return builder


ACT = Agent("act", chain(act))
