"""The desk's API as its clients see it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from perron_desk_server.process import DeskProcess

REFUNDS = "/payments/pay-17-1/refunds"


def open_ticket(api: httpx.Client, **fields: str) -> dict[str, Any]:
    answer = api.post("/tickets", json={"customer": "c-17", "subject": "Lost card", "text": "…", **fields})
    assert answer.status_code == 201
    ticket: dict[str, Any] = answer.json()
    return ticket


@pytest.mark.parametrize(
    "authorization", [None, "Bearer other", "Bearer désk", "Basic desk-demo-token", "desk-demo-token"]
)
def test_without_the_token_nothing_is_done(desk: DeskProcess, authorization: str | None) -> None:
    headers = httpx.Headers([] if authorization is None else [(b"Authorization", authorization.encode())])

    answers = [
        httpx.request(method, desk.url + path, headers=headers)
        for method, path in (
            ("GET", "/me"),
            ("PUT", "/cards/card-1/freeze"),
            ("DELETE", "/book"),
            ("GET", "/faults"),
        )
    ]

    assert [answer.status_code for answer in answers] == [401] * 4
    assert answers[0].json()["error"]["code"] == "unauthorized"
    assert sum(desk.counts().values()) == 0


def test_me_is_the_account_of_the_token(api: httpx.Client) -> None:
    assert api.get("/me").json() == {"id": "desk-1", "name": "Demo Desk"}


def test_every_customer_number_has_the_same_customer_each_time(api: httpx.Client) -> None:
    first, again, other = (api.get(f"/customers/{number}").json() for number in ("c-4711", "c-4711", "c-4712"))

    assert first == again
    assert first["name"] != other["name"] or first["payments"] != other["payments"]
    assert first["cards"][0] == {"id": "card-4711-1", "status": "active"}
    assert set(first["payments"][0]) == {"id", "cents", "currency", "merchant"}


def test_a_seeded_customer_was_charged_twice(api: httpx.Client) -> None:
    first, second = api.get("/customers/c-1").json()["payments"]

    assert (first["cents"], first["merchant"]) == (second["cents"], second["merchant"])
    assert first["id"] != second["id"]


@pytest.mark.parametrize(
    "customer_id", ["nobody", "c-", "c-01", "c--1", "c-1x", "c-%D9%A1", "c-%00", "c-99999999999"]
)
def test_other_shapes_of_customer_ids_are_not_found(api: httpx.Client, customer_id: str) -> None:
    answer = api.get(f"/customers/{customer_id}")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_a_ticket_is_made_each_time_and_found_by_its_ref(desk: DeskProcess, api: httpx.Client) -> None:
    first, second = (open_ticket(api, ref="run 1/é&") for _ in range(2))
    open_ticket(api, ref="run 2")

    found = api.get("/tickets", params={"ref": "run 1/é&"}).json()

    assert first["id"] != second["id"]
    assert [ticket["id"] for ticket in found["items"]] == [second["id"], first["id"]]
    assert found["items"][1] == first
    assert [effect.body["ref"] for effect in desk.book("ticket", ref="run 1/é&")] == ["run 1/é&"] * 2


def test_pages_of_tickets_are_newest_first_and_keep_their_filters(api: httpx.Client) -> None:
    made = [open_ticket(api, subject=f"n {n}", ref="bulk", state="closed")["id"] for n in range(5)]
    open_ticket(api, ref="bulk")

    pages = [api.get("/tickets", params={"ref": "bulk", "state": "closed", "per_page": 2}).json()]
    while pages[-1]["next"] is not None:
        pages.append(api.get(pages[-1]["next"]).json())

    assert pages[0]["next"] == "/tickets?state=closed&ref=bulk&page=2&per_page=2"
    assert [len(page["items"]) for page in pages] == [2, 2, 1]
    assert [ticket["id"] for page in pages for ticket in page["items"]] == made[::-1]


def test_freezing_again_changes_nothing_and_is_counted(desk: DeskProcess, api: httpx.Client) -> None:
    answers = [api.put("/cards/card-2-2/freeze") for _ in range(2)]

    assert [answer.json() for answer in answers] == [{"id": "card-2-2", "status": "frozen"}] * 2
    assert [card["status"] for card in api.get("/customers/c-2").json()["cards"]] == ["active", "frozen"]
    assert len(desk.book("freeze", "card-2-2")) == 2


def test_a_refund_is_made_once_for_a_key(desk: DeskProcess, api: httpx.Client) -> None:
    first, again = (
        api.post(REFUNDS, json={"amount_cents": 500}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert [effect.ref for effect in desk.book("refund", "pay-17-1")] == ["k"]


def test_a_refund_without_a_key_is_made_each_time(desk: DeskProcess, api: httpx.Client) -> None:
    ids = {api.post(REFUNDS, json={"amount_cents": 500}).json()["id"] for _ in range(2)}

    assert len(ids) == 2
    assert desk.counts_by_subject()["refund"] == {"pay-17-1": 2}


@pytest.mark.parametrize(("path", "amount_cents"), [(REFUNDS, 501), ("/payments/pay-17-2/refunds", 500)])
def test_a_key_is_refused_for_another_refund(
    desk: DeskProcess, api: httpx.Client, path: str, amount_cents: int
) -> None:
    headers = {"Idempotency-Key": "k"}
    api.post(REFUNDS, json={"amount_cents": 500}, headers=headers)

    answer = api.post(path, json={"amount_cents": amount_cents}, headers=headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "key_reused")
    assert desk.counts()["refund"] == 1


def test_a_key_in_progress_is_a_conflict_until_it_is_done(desk: DeskProcess, api: httpx.Client) -> None:
    def refund(*, cents: int = 500, fault: str | None = None) -> httpx.Response:
        headers = {"Idempotency-Key": "k"} | ({} if fault is None else {"X-Desk-Fault": fault})
        return api.post(REFUNDS, json={"amount_cents": cents}, headers=headers)

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(refund, fault="hold_before")
        desk.wait_held()
        same, other = refund(), refund(cents=501)
        desk.release()
        done = working.result()
    after = refund()

    assert (same.status_code, same.json()["error"]["code"]) == (409, "key_in_progress")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "key_reused")
    assert done.status_code == 201
    assert after.json() == done.json()
    assert desk.counts()["refund"] == 1


def test_concurrent_refunds_with_one_key_are_one_refund(desk: DeskProcess, api: httpx.Client) -> None:
    def refund(_n: int) -> int:
        return api.post(REFUNDS, json={"amount_cents": 5}, headers={"Idempotency-Key": "k"}).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = set(threads.map(refund, range(40)))

    assert statuses == {201}
    assert desk.counts()["refund"] == 1


def test_a_message_is_sent_each_time(desk: DeskProcess, api: httpx.Client) -> None:
    ids = {
        api.post("/messages", json={"to": "a@mail.example", "text": "Hi\x00 🚉"}).json()["id"] for _ in range(2)
    }

    assert len(ids) == 2
    assert [effect.body["text"] for effect in desk.book("message", "a@mail.example")] == ["Hi\x00 🚉"] * 2


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (REFUNDS, b'{"amount_cents": 0}', "body.amount_cents"),
        (REFUNDS, b'{"amount_cents": NaN}', "body.amount_cents"),
        (REFUNDS, b'{"amount_cents": "\\ud800"}', "body.amount_cents"),
        (REFUNDS, b"{}", "body.amount_cents"),
        ("/tickets", b'{"customer": "c-1", "subject": "s", "text": "\\ud800"}', "body.text"),
        ("/tickets", b'{"customer": "c-1", "subject": "", "text": ""}', "body.subject"),
        ("/messages", b"[]", "body"),
        ("/messages", b"{", "body.1"),
        ("/messages", b"\xff\xfe", None),
    ],
)
def test_bad_bodies_are_refused_with_field_and_reason(
    desk: DeskProcess, api: httpx.Client, path: str, body: bytes, field: str | None
) -> None:
    answer = api.post(path, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code in (400, 422)
    if field is not None:
        assert [entry["field"] for entry in answer.json()["error"]["fields"]] == [field]
    assert sum(desk.counts().values()) == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tickets?page=0", 422),
        ("/tickets?per_page=101", 422),
        ("/tickets?state=lost", 422),
        ("/tickets?stat=open", 422),
        ("/nothing", 404),
        ("/messages", 405),
    ],
)
def test_bad_queries_and_paths_are_refused_in_the_one_shape(api: httpx.Client, path: str, status: int) -> None:
    answer = api.get(path)

    assert answer.status_code == status
    assert set(answer.json()["error"]) >= {"code", "message"}


@pytest.mark.parametrize("path", ["/payments/17/refunds", "/payments/pay-/refunds", "/payments/pay-1%2F2/refunds"])
def test_payments_of_other_shapes_are_not_found(desk: DeskProcess, api: httpx.Client, path: str) -> None:
    answer = api.post(path, json={"amount_cents": 5})

    assert answer.status_code == 404
    assert desk.counts()["refund"] == 0


def test_the_book_lists_filters_counts_and_forgets(desk: DeskProcess, api: httpx.Client) -> None:
    open_ticket(api, ref="r")
    api.put("/cards/card-1-1/freeze")
    api.post(REFUNDS, json={"amount_cents": 5}, headers={"Idempotency-Key": "k"})

    effects = desk.book()

    assert [(effect.kind, effect.subject, effect.ref) for effect in effects] == [
        ("ticket", "c-17", "r"),
        ("freeze", "card-1-1", None),
        ("refund", "pay-17-1", "k"),
    ]
    assert [effect.n for effect in effects] == sorted(effect.n for effect in effects)
    assert desk.book("freeze", "card-1-2") == []
    assert desk.counts() == {"freeze": 1, "ticket": 1, "refund": 1, "message": 0}

    desk.reset()

    assert sum(desk.counts().values()) == 0
    assert api.get("/tickets").json() == {"items": [], "next": None}
    assert api.get("/customers/c-1").json()["cards"][0]["status"] == "active"
    again = api.post(REFUNDS, json={"amount_cents": 6}, headers={"Idempotency-Key": "k"})
    assert again.status_code == 201
