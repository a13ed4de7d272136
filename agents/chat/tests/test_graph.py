from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from perron_agent_chat.graph import after_respond, build, tool_rounds

CALL = {"name": "desk_customer", "args": {}, "id": "call-1"}


def test_the_graph_compiles_and_can_be_drawn() -> None:
    drawing = build().compile().get_graph().draw_mermaid()

    assert "respond" in drawing
    assert "call_tools" in drawing


def test_tools_are_called_when_the_model_wants_to() -> None:
    assert after_respond({"messages": [AIMessage("", tool_calls=[CALL])]}) == "call_tools"
    assert after_respond({"messages": [AIMessage("Done.")]}) == "__end__"


def test_rounds_are_counted_since_a_person_wrote_last() -> None:
    round_of_calls: list[AnyMessage] = [AIMessage("", tool_calls=[CALL]), ToolMessage("ok", tool_call_id="call-1")]

    assert tool_rounds([HumanMessage("a"), *round_of_calls, HumanMessage("b")]) == 0
    assert tool_rounds([HumanMessage("a"), *round_of_calls, *round_of_calls]) == 2
