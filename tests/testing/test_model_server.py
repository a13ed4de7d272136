import asyncio
from typing import Any, Literal

import openai
import pytest
from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessageChunk
from langchain_core.tools import tool
from pydantic import BaseModel

from perron.testing.model_server import Answers, CallsTools, Fails, ModelServer, Says


class Weather(BaseModel):
    """The weather somewhere."""

    degrees: int


@tool
def get_weather(city: str) -> str:
    """Tell the weather."""
    return city


def client_of(server: ModelServer) -> BaseChatModel:
    model: BaseChatModel = init_chat_model("openai:test", base_url=server.base_url, api_key="any", max_retries=0)
    return model


async def test_text_arrives_whole() -> None:
    with ModelServer([Says("Good  morning.\nHow are you?")]) as server:
        answer = await client_of(server).ainvoke("hello")

    assert answer.content == "Good  morning.\nHow are you?"
    assert server.requests[0]["messages"] == [{"role": "user", "content": "hello"}]


async def test_text_is_streamed_in_words() -> None:
    with ModelServer([Says("one two three")]) as server:
        pieces = [chunk.content async for chunk in client_of(server).astream("count")]

    assert [piece for piece in pieces if piece] == ["one ", "two ", "three"]


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_several_tools_are_called_at_once(is_streamed: bool) -> None:
    with ModelServer([CallsTools(("get_weather", {"city": "Rome"}), ("get_weather", {"city": "Oslo"}))]) as server:
        model = client_of(server).bind_tools([get_weather])
        if is_streamed:
            whole: BaseMessageChunk = AIMessageChunk(content="")
            async for chunk in model.astream("weather?"):
                whole = whole + chunk
            calls: Any = whole.model_dump()["tool_calls"]
        else:
            calls = (await model.ainvoke("weather?")).model_dump()["tool_calls"]

    assert [(call["name"], call["args"]) for call in calls] == [
        ("get_weather", {"city": "Rome"}),
        ("get_weather", {"city": "Oslo"}),
    ]
    assert len({call["id"] for call in calls}) == 2


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_a_schema_is_filled_as_the_client_asks(method: Literal["json_schema", "function_calling"]) -> None:
    with ModelServer([Answers({"degrees": 21})]) as server:
        model = client_of(server)
        answer = await model.with_structured_output(Weather, method=method).ainvoke("weather?")

    assert answer == Weather(degrees=21)


async def test_errors_have_their_status() -> None:
    with ModelServer([Fails(503)]) as server, pytest.raises(openai.InternalServerError) as caught:
        await client_of(server).ainvoke("hello")

    assert caught.value.status_code == 503


async def test_a_request_after_the_last_reply_is_refused() -> None:
    with ModelServer([]) as server, pytest.raises(openai.BadRequestError, match="no reply left"):
        await client_of(server).ainvoke("hello")


async def test_a_function_may_answer_instead_of_a_script() -> None:
    with ModelServer(lambda body: Says(body["messages"][-1]["content"].upper())) as server:
        model = client_of(server)
        answers = await asyncio.gather(*(model.ainvoke(word) for word in ("a", "b", "c")))

    assert [answer.content for answer in answers] == ["A", "B", "C"]
