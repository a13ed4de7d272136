"""The message to the customer."""

from perron_agent_triage.state import State


def compose_reply(state: State) -> str:
    """Say what was done and what the decision adds, in the order of a letter."""
    profile = state["profile"]
    lines = [f"Dear {profile['name']}," if profile else "Dear customer,"]
    if state["frozen_cards"]:
        lines.append(f"We have frozen {' and '.join(state['frozen_cards'])}: nobody can pay with it any more.")
    elif "freeze_card" in state["decision"]["plan"]:
        lines.append("All your cards are frozen already: nobody can pay with them.")
    if (plan := state["refund_plan"]) and state["refund_id"]:
        amount = f"{plan['cents'] / 100:.2f} {plan['payment']['currency']}"
        lines.append(
            f"We refund {amount} for {plan['payment']['merchant']}; your reference is {state['refund_id']}."
        )
    if state["is_refund_refused"]:
        lines.append("A colleague has looked at the refund that you asked for, and it cannot be made.")
    if state["ticket_id"]:
        lines.append(f"A colleague takes care of it; your reference is {state['ticket_id']}.")
    lines.append(state["decision"]["answer"])
    lines.append("Your bank")
    return "\n".join(line for line in lines if line)
