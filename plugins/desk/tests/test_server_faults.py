"""How the desk misbehaves on request, and that its book tells the truth about it."""

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from perron_desk_server.errors import BadFaultError
from perron_desk_server.faults import Fault
from perron_desk_server.process import DeskProcess, start_desk
from perron_desk_server.request_glob import can_fit

MESSAGE = {"to": "a@mail.example", "text": "Hi"}


def send(api: httpx.Client, fault: str | None = None) -> httpx.Response:
    return api.post("/messages", json=MESSAGE, headers={} if fault is None else {"X-Desk-Fault": fault})


def connect(desk: DeskProcess, fault: str) -> socket.socket:
    """A connection on which a message with this fault was sent off."""
    body = json.dumps(MESSAGE)
    connection = socket.create_connection(("127.0.0.1", desk.port), timeout=10)
    connection.sendall(
        f"POST /messages HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {desk.token}\r\nX-Desk-Fault: {fault}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return connection


def wait_until_read(desk: DeskProcess) -> None:
    """Return when the desk has worked on what was sent so far: it takes new connections in their order."""
    httpx.get(f"{desk.url}/me", headers={"Authorization": f"Bearer {desk.token}"}).raise_for_status()


def read_to_end(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize(("fault", "effects"), [("drop_before", 0), ("drop_after", 1)])
def test_a_dropped_connection_ends_without_a_byte(desk: DeskProcess, fault: str, effects: int) -> None:
    with connect(desk, fault) as connection:
        received = read_to_end(connection)

    assert received == b""
    assert desk.counts()["message"] == effects


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_httpx_sees_a_dropped_connection_as_no_response(api: httpx.Client, fault: str) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        send(api, fault)

    assert send(api).status_code == 201


@pytest.mark.parametrize(
    ("fault", "status", "effects"),
    [("error_before", 500, 0), ("error_before:503", 503, 0), ("error_after", 500, 1), ("error_after:502", 502, 1)],
)
def test_errors_come_before_or_after_the_effect(
    desk: DeskProcess, api: httpx.Client, fault: str, status: int, effects: int
) -> None:
    answer = send(api, fault)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, "fault")
    assert desk.counts()["message"] == effects


def test_a_rate_limit_says_when_to_come_back_and_has_no_effect(desk: DeskProcess, api: httpx.Client) -> None:
    answer = send(api, "rate_limited:7")

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert desk.counts()["message"] == 0


def test_a_web_page_comes_instead_of_json(desk: DeskProcess, api: httpx.Client) -> None:
    answer = send(api, "html")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.text.startswith("<!doctype html>")
    assert desk.counts()["message"] == 1


def test_a_huge_answer_is_valid_json_of_ten_megabytes(desk: DeskProcess, api: httpx.Client) -> None:
    answer = send(api, "huge")

    assert (answer.status_code, answer.headers["Content-Type"]) == (201, "application/json")
    assert int(answer.headers["Content-Length"]) == len(answer.content) > 10_000_000
    assert answer.json()["to"] == MESSAGE["to"]
    assert desk.counts()["message"] == 1


def test_a_late_answer_comes_after_its_effect(desk: DeskProcess) -> None:
    with connect(desk, "late:30") as connection:
        wait_until_read(desk)
        effects = desk.counts()["message"]
        connection.setblocking(False)

        with pytest.raises(BlockingIOError):
            connection.recv(1)
        assert effects == 1


def test_a_late_answer_comes(api: httpx.Client) -> None:
    begun = time.monotonic()

    answer = send(api, "late:0.2")

    assert answer.status_code == 201
    assert time.monotonic() - begun >= 0.2


def test_a_late_effect_comes_though_the_client_has_gone(desk: DeskProcess, api: httpx.Client) -> None:
    with connect(desk, "late_before:1"):
        wait_until_read(desk)
        before = desk.counts()["message"]

    # As late as the message but begun after it, so it is answered after the message's effect.
    api.get("/me", headers={"X-Desk-Fault": "late_before:1"})
    assert (before, desk.counts()["message"]) == (0, 1)


@pytest.mark.parametrize(("fault", "effects_while_held"), [("hold_before", 0), ("hold_after", 1)])
def test_a_held_request_is_answered_after_its_release(
    desk: DeskProcess, api: httpx.Client, fault: str, effects_while_held: int
) -> None:
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(send, api, fault)
        held = desk.wait_held()
        effects = desk.counts()["message"]
        released = desk.release()

        assert answer.result().status_code == 201
    assert held == ["POST /messages"]
    assert effects == effects_while_held
    assert released == 1
    assert desk.counts()["message"] == 1


@pytest.mark.parametrize(("fault", "effects"), [("hold_before", 0), ("hold_after", 1)])
def test_a_held_request_ends_when_its_client_goes(desk: DeskProcess, fault: str, effects: int) -> None:
    connections = [connect(desk, fault) for _ in range(2)]
    desk.wait_held(at_least=2)

    for connection in connections:
        connection.close()
    with connect(desk, "hold_before"):
        wait_until_read(desk)
        while (
            len(desk.wait_held()) > 1
        ):  # the desk notices in a moment that the two are gone; else the test times out
            pass
        counted = desk.counts()["message"]

    assert counted == 2 * effects


def test_sigterm_ends_the_desk_though_requests_wait(tmp_path: Path) -> None:
    faults = ("late:600", "late_before:600", "hold_before", "hold_after")
    with start_desk(tmp_path / "desk.sqlite3") as desk, ExitStack() as stack:
        connections = [stack.enter_context(connect(desk, fault)) for fault in faults]
        wait_until_read(desk)
        effects = desk.counts()["message"]

        os.kill(desk.pid, signal.SIGTERM)

        assert desk.wait(timeout_s=1.5) == 0  # uvicorn gives up by itself after 2 s
        assert [read_to_end(connection) for connection in connections] == [b""] * 4
    assert effects == 2
    with start_desk(desk.db) as desk:
        assert desk.counts()["message"] == 2


def test_waiting_for_held_requests_ends_with_the_time(desk: DeskProcess) -> None:
    with pytest.raises(TimeoutError, match="0 requests are held"):
        desk.wait_held(0.05)


def test_an_armed_fault_meets_as_many_requests_as_it_says(desk: DeskProcess, api: httpx.Client) -> None:
    desk.arm("error_after", "POST /messages", times=2, status=503)

    statuses = [send(api).status_code for _ in range(3)]

    assert statuses == [503, 503, 201]
    assert api.get("/faults").json() == []
    assert desk.counts()["message"] == 3


def test_an_armed_fault_meets_only_its_path(desk: DeskProcess, api: httpx.Client) -> None:
    desk.arm("error_before", "POST /payments/*/refunds")

    other = send(api).status_code
    left = api.get("/faults").json()
    meant = api.post("/payments/pay-1-1/refunds", json={"amount_cents": 5}).status_code

    assert (other, meant) == (201, 500)
    assert [(fault["kind"], fault["times"]) for fault in left] == [("error_before", 1)]


def test_a_request_without_the_token_uses_up_no_fault(desk: DeskProcess, api: httpx.Client) -> None:
    desk.arm("error_before")

    refused = httpx.get(f"{desk.url}/me").status_code

    assert (refused, api.get("/me").status_code, api.get("/me").status_code) == (401, 500, 200)


def test_disarming_takes_all_faults_away(desk: DeskProcess, api: httpx.Client) -> None:
    desk.arm("drop_after", times=5)

    desk.disarm()

    assert send(api).status_code == 201


def test_a_lost_answer_is_replayed_for_the_same_key(desk: DeskProcess, api: httpx.Client) -> None:
    def refund() -> httpx.Response:
        return api.post("/payments/pay-1-1/refunds", json={"amount_cents": 5}, headers={"Idempotency-Key": "k"})

    desk.arm("drop_after", "POST /payments/*")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        refund()

    assert refund().headers["Idempotent-Replayed"] == "true"
    assert desk.counts()["refund"] == 1


def test_a_key_is_free_again_when_its_request_failed_before_the_effect(
    desk: DeskProcess, api: httpx.Client
) -> None:
    headers = {"Idempotency-Key": "k"}
    refunds = "/payments/pay-1-1/refunds"
    with pytest.raises(httpx.ReadTimeout):
        api.post(
            refunds, json={"amount_cents": 5}, headers={**headers, "X-Desk-Fault": "hold_before"}, timeout=0.2
        )

    answer = api.post(refunds, json={"amount_cents": 5}, headers=headers)

    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers


@pytest.mark.parametrize(
    "spec", ["", "no_such", "late:soon", "late:-1", "late:nan", "drop_after:1", "error_after:99", "rate_limited:x"]
)
def test_an_unknown_fault_is_refused(desk: DeskProcess, api: httpx.Client, spec: str) -> None:
    answer = send(api, spec)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_fault")
    assert desk.counts()["message"] == 0


@pytest.mark.parametrize(
    "fault", [{"kind": "no_such"}, {"kind": "late", "times": 0}, {"kind": "late", "dely_s": 1}, {}]
)
def test_a_bad_fault_is_not_armed(api: httpx.Client, fault: dict[str, object]) -> None:
    assert api.post("/faults", json=fault).status_code == 422
    assert api.get("/faults").json() == []


@pytest.mark.parametrize("path", ["POST /mesages", "PUT /messages", "/messages", "POST /payments", "* /book"])
def test_a_path_that_no_request_can_have_is_refused(api: httpx.Client, path: str) -> None:
    answer = api.post("/faults", json={"kind": "late", "path": path})

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "no_route")
    assert answer.json()["error"]["message"] == (
        f"No request can fit the path {path!r}: it is a glob over one of GET /me, GET /tickets, POST /tickets, "
        "GET /customers/{customer_id}, PUT /cards/{card_id}/freeze, POST /payments/{payment_id}/refunds, "
        "POST /messages."
    )
    assert api.get("/faults").json() == []


@pytest.mark.parametrize(
    "path",
    [
        "*",
        "PUT *",
        "* /cards/*",
        "PUT /cards/card-1-1/freeze",
        "PUT /cards/card-1-*",
        "P[!O]T /c*s/?*-[0-9]/fr??ze",
    ],
)
def test_a_glob_fits_what_its_route_can_have(path: str) -> None:
    assert can_fit(path, "PUT /cards/{card_id}/freeze")


@pytest.mark.parametrize(
    "path", ["", "PUT", "POST *", "PUT /cards//freeze", "PUT /cards/a/b/freeze", "PUT /cards/*/thaw", "P[U]*[!e]"]
)
def test_a_glob_does_not_fit_what_its_route_cannot_have(path: str) -> None:
    assert not can_fit(path, "PUT /cards/{card_id}/freeze")


def test_a_header_names_kind_and_number() -> None:
    assert Fault.parse("late:0.25").delay_s == 0.25
    assert Fault.parse(" html:502 ").status == 502
    with pytest.raises(BadFaultError, match="hold_after"):
        Fault.parse("hold")
