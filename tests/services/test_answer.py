"""Answers: a value that does not fit what is asked about is refused while the ask still waits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from tests.conftest import Deployment, chain

from perron.core.platform import Platform
from perron.errors import InvalidInputError
from perron.ids import new_id
from perron.integrations.operations.approve import approve
from perron.models.ask import Ask
from perron.services.answer import Answer

SHOWN = {"payment": "p1", "cents": 9_000, "note": None, "is_new": True, "lines": ["a"], "token": "[redacted]"}


class Refund(BaseModel):
    payment: str
    cents: int = Field(5, ge=0, alias="amount")
    why: Literal["damaged", "late"] | None = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    payment: str


def make_ask(arguments: Any = SHOWN, schema: dict[str, Any] | None = None, *, is_ours: bool = True) -> Ask:
    return Ask(
        ask_id=new_id(),
        call_id=new_id() if is_ours else None,
        kind="approval",
        arguments=arguments,
        answer_schema=schema,
        decisions=["approve", "edit", "reject", "respond", "give_result"],
    )


def edited(**changes: Any) -> dict[str, Any]:
    return {**SHOWN, "token": "t", **changes}


@pytest.mark.parametrize(
    "value",
    [
        edited(),
        edited(cents=12.5),
        edited(note="now there is one"),
        edited(note=["or", "of", "any", "type"]),
        edited(lines=[]),
        edited(token={"of": "any type"}),
    ],
)
@pytest.mark.parametrize("schema", [None, {}], ids=["none", "of Any"])
def test_an_edit_that_keeps_fields_and_types_fits(value: Any, schema: dict[str, Any] | None) -> None:
    Answer("edit", value).check(make_ask(schema=schema))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (edited(cnts=5), "has the unknown field 'cnts'. Did you mean 'cents'"),
        (edited(wholly_other=5), "has the unknown field 'wholly_other'."),
        ({k: v for k, v in edited().items() if k != "cents"}, "lacks the field 'cents'."),
        (edited(cents="5"), "does not fit at cents: it takes a number, not a text."),
        (edited(cents=True), "does not fit at cents: it takes a number, not a truth value."),
        (edited(cents=None), "does not fit at cents: it takes a number, not null."),
        (edited(is_new=1), "does not fit at is_new: it takes a truth value, not a number."),
        (edited(payment={}), "does not fit at payment: it takes a text, not an object."),
        (edited(lines="a"), "does not fit at lines: it takes an array, not a text."),
        (edited(token="[redacted]"), "still hides token: write its real value, or approve."),
        ("nonsense", "does not fit: it takes an object with the fields cents, is_new,"),
        (7, "does not fit: it takes an object"),
    ],
)
def test_an_edit_without_a_schema_is_held_against_what_is_asked_about(value: Any, said: str) -> None:
    ask = make_ask()

    with pytest.raises(InvalidInputError) as refused:
        Answer("edit", value).check(ask)

    assert said in refused.value.message
    assert refused.value.message.startswith("The value of the decision 'edit' ")
    assert refused.value.facts["ask_id"] == str(ask.ask_id)


@pytest.mark.parametrize(
    ("arguments", "fits", "does_not"), [(5, 6.5, "6"), ("a", "b", ["b"]), ([1], [], {}), (True, False, 0)]
)
def test_an_edit_of_what_is_no_object_keeps_its_type(arguments: Any, fits: Any, does_not: Any) -> None:
    Answer("edit", fits).check(make_ask(arguments))

    with pytest.raises(InvalidInputError, match="does not fit: it takes a"):
        Answer("edit", does_not).check(make_ask(arguments))


@pytest.mark.parametrize("value", [{"payment": "p", "amount": 0}, {"payment": "p"}, {"payment": "p", "why": None}])
def test_an_edit_that_fits_the_schema_is_taken(value: Any) -> None:
    Answer("edit", value).check(
        make_ask({"payment": "p1", "amount": 1, "why": "late"}, Refund.model_json_schema())
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"payment": "p", "amount": -1}, "does not fit at amount: -1 is less than the minimum of 0."),
        ({"payment": "p", "amount": "5"}, "does not fit at amount: '5' is not of type 'integer'."),
        ({"payment": "p", "why": "lost"}, "does not fit at why: 'lost' is not"),
        ({"amount": 5}, "does not fit: 'payment' is a required property."),
        ({"payment": "p", "amonut": 5}, "has the unknown field 'amonut'. Did you mean 'amount'"),
        ([], "does not fit: [] is not of type 'object'."),
        ({"payment": "p", "amount": "x" * 10_000}, "…"),
    ],
)
def test_an_edit_is_held_against_the_schema(value: Any, said: str) -> None:
    ask = make_ask({"payment": "p1", "amount": 1, "why": None}, Refund.model_json_schema())

    with pytest.raises(InvalidInputError) as refused:
        Answer("edit", value).check(ask)

    assert said in refused.value.message
    assert len(refused.value.message) < 400


def test_a_schema_may_allow_fields_that_it_does_not_name() -> None:
    Answer("edit", {"payment": "p", "more": 1}).check(make_ask({"payment": "p1"}, Open.model_json_schema()))


@pytest.mark.parametrize("decision", ["give_result", "respond"])
def test_other_values_are_held_against_a_schema_too(decision: str) -> None:
    ask = make_ask({"payment": "p1"}, TypeAdapter(list[int]).json_schema())

    Answer(decision, [1, 2]).check(ask)
    with pytest.raises(InvalidInputError, match=f"decision '{decision}' does not fit at 1: 'b' is not of type"):
        Answer(decision, [1, "b"]).check(ask)


def test_a_result_may_have_fields_that_the_schema_does_not_name() -> None:
    Answer("give_result", {"payment": "p", "more": 1}).check(make_ask({"a": 1}, Refund.model_json_schema()))


def test_a_schema_that_python_cannot_read_is_left_to_the_call() -> None:
    odd = TypeAdapter(Annotated[str, StringConstraints(pattern=r"^\p{Lu}$")]).json_schema()

    Answer("give_result", "anything").check(make_ask(schema=odd))


def test_the_value_of_an_interrupt_is_the_agents_own() -> None:
    Answer("edit", "nonsense").check(make_ask(is_ours=False))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize(("decision", "is_ours"), [("edit", True), ("give_result", True), ("respond", False)])
def test_a_number_that_is_not_finite_is_refused(decision: str, number: float, is_ours: bool) -> None:
    ask = make_ask({"cents": 1.5}, is_ours=is_ours)

    with pytest.raises(InvalidInputError, match="not finite"):
        Answer(decision, {"cents": number}).check(ask)


async def test_an_edit_that_does_not_fit_leaves_the_ask_open(deployment: Deployment) -> None:
    async def ask(state: Any) -> Any:
        return {"text": str((await approve("Refund?", args={"cents": 9_000}))["cents"])}

    platform: Platform = await deployment.open(chain(ask))
    run = await platform.run("agent", {"text": ""})

    for value in ("nonsense", {"cnts": 1}, {"cents": "many"}):
        with pytest.raises(InvalidInputError):
            await run.waiting[0].edit(value)

    assert [row.state for row in await platform.asks.search(platform.caller)] == ["open"]
    assert (await run.waiting[0].edit({"cents": 5})).output["text"] == "5"
