"""Secrets stay where they are needed: no dump of the database and no log holds one."""

from __future__ import annotations

import base64

from tests.faults.playing import on_stage
from tests.faults.stage import KEY, TOKEN, Stage

OTHER_TOKEN = "desk-canary-revoked-90c2"  # a canary
PLANTED = "canary-planted-77e1"
MESSAGE = {"do": "AskPerson"}


def found(secret: str, text: str) -> bool:
    """Say whether a text holds a secret as it is, in hex, or in base64 at any offset."""
    encoded = secret.encode()
    forms = [secret, encoded.hex()]
    for offset in range(3):
        whole = base64.b64encode(b"\0" * offset + encoded).decode()
        forms.append(whole[4 if offset else 0 :].rstrip("=")[:-1])
    return any(form in text for form in forms)


@on_stage
async def test_no_dump_and_no_log_holds_a_secret(stage: Stage) -> None:
    """A call that is killed and replayed, one that is refused, an effect that is given a token, a connection."""
    victim = await stage.run("act", MESSAGE, failpoints="call.after_done=kill")
    await victim.died()
    await stage.resume()
    asked = await (await stage.run("act", {"do": "effect"}, failpoints="call.after_sent=kill")).has_died()
    waiting = await stage.resume()
    revoked = {"PERRON_CONNECTION_DESK": OTHER_TOKEN}
    refused = await (await stage.run("act", {"do": "SameKey"}, environment=revoked)).result()
    await (await stage.connect(TOKEN)).result()
    used = await (await stage.run("act", MESSAGE, environment={"PERRON_CONNECTION_DESK": ""})).result()

    dump, logs = await stage.dump(), stage.logs()

    raw_key = base64.b64decode(KEY).decode()
    assert asked
    assert [ask["kind"] for ask in waiting["asks"]] == ["unknown_outcome"]
    assert refused["error"]["error"] == "AuthFailed"
    assert used["status"] == "success"
    for secret in (TOKEN, OTHER_TOKEN, KEY, raw_key):
        assert not found(secret, dump)
        assert not found(secret, logs)
    assert found("Your card is frozen.", dump)
    assert "httpcore.http11" in logs


@on_stage
async def test_the_search_finds_what_is_there(stage: Stage) -> None:
    """The control: something planted in state, events and logs is found in each."""
    run = await stage.run("says", {"log": [PLANTED]}, stream_mode=["updates"])
    await run.result()

    (row,) = await stage.sql(
        "SELECT count(*) AS n FROM perron.run_events WHERE payload::text LIKE %s", f"%{PLANTED}%"
    )
    blobs = await stage.sql("SELECT encode(blob, 'hex') AS blob FROM langgraph.checkpoint_blobs")

    assert row["n"] > 0
    assert any(found(PLANTED, blob["blob"]) for blob in blobs if blob["blob"])
    assert found(PLANTED, await stage.dump())
    assert found(PLANTED, stage.logs())
    for offset in range(3):
        assert found(PLANTED, base64.b64encode(b"x" * offset + PLANTED.encode() + b"yz").decode())
