"""Webhooks: the end of a run is told, once it has arrived never again, and to nobody inside."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from langgraph.types import interrupt
from standardwebhooks import Webhook
from tests.conftest import Deployment, State, chain

from perron import clock
from perron.caller import Caller
from perron.core.platform import Platform
from perron.errors import AlreadyDeliveredError, DeliveryNotFoundError, InternalAddressError
from perron.models.webhook_delivery import WebhookDelivery
from perron.services.webhook_sending import WebhookSending, pause_after

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@dataclass
class Told:
    """A request that a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """An HTTP server that answers with the statuses that a test says, the last one for ever."""

    statuses: list[int] = field(default_factory=lambda: [200])
    told: list[Told] = field(default_factory=list)
    on_request: Callable[[], object] = lambda: None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def status(self) -> int:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yield from _serve(Receiver())


def _serve(receiver: Receiver, *, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.told.append(Told(self.path, headers, body))
            receiver.on_request()
            self.send_response(receiver.status())
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


def greet(state: State) -> State:
    return {"text": f"hello {state['text']}"}


def ask(state: State) -> State:
    return {"text": str(interrupt("who?"))}


def fail(state: State) -> State:
    raise ValueError("no such luck")


def sending(platform: Platform, **options: Any) -> WebhookSending:
    return WebhookSending(platform._opened.shared.database, platform.settings, **options)


async def open_platform(
    deployment: Deployment, node: Callable[[State], State] = greet, **options: Any
) -> Platform:
    """Open one that leaves the sending to the test."""
    platform = await deployment.open(chain(node), webhook_allow_private=True, webhook_secret=SECRET, **options)
    await platform._chores.stop()
    return platform


async def deliveries(platform: Platform) -> Sequence[WebhookDelivery]:
    return await platform.webhooks.search(platform.caller)


async def make_due(deployment: Deployment) -> None:
    await deployment.sql("UPDATE perron.webhook_deliveries SET due_at = now() WHERE state = 'pending'")


async def test_the_end_of_a_run_is_told_as_the_sdk_shows_it_and_signed(
    deployment: Deployment, receiver: Receiver
) -> None:
    platform = await open_platform(deployment)
    run = await platform.run("agent", {"text": "ann"}, webhook=receiver.url, metadata={"team": "desk"})

    await sending(platform).deliver_due()

    [told] = receiver.told
    body = Webhook(SECRET).verify(told.body, told.headers)
    assert (body["run_id"], body["thread_id"]) == (str(run.run_id), str(run.thread_id))
    assert (body["status"], body["error"], body["metadata"]) == ("success", None, {"team": "desk"})
    assert body["values"] == {"text": "hello ann", "log": []}
    assert (body["kwargs"]["input"], body["kwargs"]["webhook"]) == ({"text": "ann"}, receiver.url)
    assert "settings" not in body["kwargs"]
    for name in ("created_at", "run_started_at", "run_ended_at", "webhook_sent_at"):
        assert datetime.fromisoformat(body[name]).tzinfo is not None
    assert told.headers["content-type"] == "application/json"
    [delivery] = await deliveries(platform)
    assert (delivery.state, delivery.attempts, delivery.answer_status) == ("delivered", 1, 200)
    assert (str(delivery.delivery_id), delivery.run) == (told.headers["webhook-id"], None)


async def test_a_failed_run_is_told_with_its_error(deployment: Deployment, receiver: Receiver) -> None:
    platform = await open_platform(deployment, fail)
    await platform.run("agent", {"text": ""}, webhook=receiver.url)

    await sending(platform).deliver_due()

    [told] = receiver.told
    assert told.json["status"] == "error"
    assert told.json["error"] == {"error": "ValueError", "message": "no such luck"}


async def test_a_run_that_waits_is_told_with_what_it_waits_for(deployment: Deployment, receiver: Receiver) -> None:
    platform = await open_platform(deployment, ask)
    run = await platform.run("agent", {"text": "ann"}, webhook=receiver.url)

    await sending(platform).deliver_due()

    [told] = receiver.told
    [shown] = told.json["values"]["__interrupt__"]
    assert (told.json["status"], shown["value"]) == ("success", "who?")
    assert len(run.waiting) == 1


async def test_the_cancel_of_a_pending_run_is_told(deployment: Deployment, receiver: Receiver) -> None:
    platform = await deployment.open(chain(greet), worker=False, webhook_allow_private=True)
    run_id = await platform.submit("agent", {"text": "ann"}, webhook=receiver.url)
    await platform.cancel(run_id)

    await sending(platform).deliver_due()

    [told] = receiver.told
    assert (told.json["status"], told.json["values"]) == ("interrupted", None)


async def test_runs_without_a_webhook_tell_nobody(deployment: Deployment) -> None:
    platform = await open_platform(deployment)

    await platform.run("agent", {"text": "ann"})

    assert await deliveries(platform) == []


async def test_an_answer_of_500_is_tried_again_later_under_the_same_id(
    deployment: Deployment, receiver: Receiver
) -> None:
    receiver.statuses = [500, 200]
    platform = await open_platform(deployment)
    await platform.run("agent", {"text": "ann"}, webhook=receiver.url)

    await sending(platform).deliver_due()
    await sending(platform).deliver_due()  # not due yet
    [waiting] = await deliveries(platform)
    await make_due(deployment)
    await sending(platform).deliver_due()

    first, second = receiver.told
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (waiting.state, waiting.answer_status) == ("pending", 500)
    assert waiting.error == "The receiver answered 500."
    assert waiting.due_at > clock.now()
    [done] = await deliveries(platform)
    assert (done.state, done.attempts, done.error) == ("delivered", 2, None)


def test_pauses_grow_up_to_six_hours_and_cover_about_a_day() -> None:
    pauses = [pause_after(attempts) for attempts in range(1, 15)]

    assert pauses[:3] == [timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=40)]
    assert pauses[-1] == timedelta(hours=6)
    assert timedelta(hours=22) < sum(pauses, timedelta()) < timedelta(hours=26)


async def test_after_its_last_attempt_a_delivery_is_given_up_until_somebody_retries_it(
    deployment: Deployment, receiver: Receiver
) -> None:
    receiver.statuses = [503, 200]
    platform = await open_platform(deployment)
    await platform.run("agent", {"text": "ann"}, webhook=receiver.url)
    await deployment.sql("UPDATE perron.webhook_deliveries SET attempts = 14")

    await sending(platform).deliver_due()
    [failed] = await deliveries(platform)
    await platform.webhooks.retry(platform.caller, failed.delivery_id)
    await sending(platform).deliver_due()

    assert (failed.state, failed.attempts) == ("failed", 15)
    [done] = await deliveries(platform)
    assert (done.state, done.attempts) == ("delivered", 1)
    assert len({told.headers["webhook-id"] for told in receiver.told}) == 1
    with pytest.raises(AlreadyDeliveredError, match="nothing to send again"):
        await platform.webhooks.retry(platform.caller, failed.delivery_id)
    with pytest.raises(DeliveryNotFoundError):
        await platform.webhooks.retry(Caller("bob"), failed.delivery_id)


async def test_what_one_worker_is_sending_another_leaves_alone(deployment: Deployment, receiver: Receiver) -> None:
    platform, other = await open_platform(deployment), await open_platform(deployment)
    await platform.run("agent", {"text": "ann"}, webhook=receiver.url)
    await deployment.sql("UPDATE perron.webhook_deliveries SET url = replace(url, '127.0.0.1', 'hooks.example')")
    begun, may_go_on = asyncio.Event(), asyncio.Event()

    async def slow(host: str, port: int) -> Sequence[str]:
        begun.set()
        await may_go_on.wait()
        return ["127.0.0.1"]

    first = asyncio.create_task(sending(platform, resolve=slow).deliver_due())
    await begun.wait()
    await sending(other, resolve=_local).deliver_due()
    assert receiver.told == []
    may_go_on.set()
    await first

    assert len(receiver.told) == 1


async def test_what_a_dead_worker_was_sending_is_sent_when_its_time_is_up(
    deployment: Deployment, receiver: Receiver
) -> None:
    platform = await open_platform(deployment)
    await platform.run("agent", {"text": "ann"}, webhook=receiver.url)
    begun = asyncio.Event()

    async def never(host: str, port: int) -> Sequence[str]:
        begun.set()
        await asyncio.Event().wait()
        return ()

    await deployment.sql("UPDATE perron.webhook_deliveries SET url = replace(url, '127.0.0.1', 'hooks.example')")
    dying = asyncio.create_task(sending(platform, resolve=never).deliver_due())
    await begun.wait()
    dying.cancel()
    await asyncio.wait([dying])

    await sending(platform, resolve=_local).deliver_due()
    assert receiver.told == []
    await make_due(deployment)
    await sending(platform, resolve=_local).deliver_due()

    assert len(receiver.told) == 1


async def test_the_deletion_of_a_thread_leaves_what_is_to_be_told(
    deployment: Deployment, receiver: Receiver
) -> None:
    platform = await open_platform(deployment)
    await platform.run("agent", {"text": "ann"}, webhook=receiver.url, on_completion="delete")
    await deployment.sql("UPDATE perron.threads SET state_updated_at = now() - interval '1 minute'")
    await platform.threads.delete_temporary()
    assert await deployment.sql("SELECT 1 FROM perron.threads") == []

    await sending(platform).deliver_due()

    [told] = receiver.told
    assert told.json["values"] == {"text": "hello ann", "log": []}


async def test_an_internal_address_is_refused_when_the_run_is_created(deployment: Deployment) -> None:
    platform = await deployment.open(chain(greet))

    with pytest.raises(InternalAddressError, match="PERRON_WEBHOOK_ALLOW_PRIVATE"):
        await platform.run("agent", {"text": "ann"}, webhook="http://169.254.169.254/latest/meta-data")

    assert await deployment.sql("SELECT 1 FROM perron.runs") == []


async def test_a_name_that_has_become_internal_meanwhile_is_given_up(
    deployment: Deployment, receiver: Receiver
) -> None:
    platform = await deployment.open(chain(greet), worker=False)
    run_id = await platform.submit("agent", {"text": "ann"}, webhook=f"http://hooks.invalid:{receiver.port}/hook")
    await platform.cancel(run_id)

    await sending(platform, resolve=_local).deliver_due()

    [delivery] = await deliveries(platform)
    assert (delivery.state, delivery.attempts) == ("failed", 1)
    assert "leads to an internal address" in str(delivery.error)
    assert receiver.told == []


async def test_redirects_are_not_followed(deployment: Deployment, receiver: Receiver) -> None:
    receiver.statuses = [307]
    platform = await open_platform(deployment)
    await platform.run("agent", {"text": "ann"}, webhook=receiver.url)

    await sending(platform).deliver_due()

    [delivery] = await deliveries(platform)
    assert delivery.error == "The receiver answered 307; redirects are not followed."
    assert [told.path for told in receiver.told] == ["/hook"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(-2, "Name or service not known"), "cannot be resolved: Name or service not known."),
        (TimeoutError(), "was not resolved within 5 s."),
    ],
)
async def test_a_name_that_is_not_found_is_tried_again(deployment: Deployment, error: OSError, said: str) -> None:
    platform = await open_platform(deployment)
    await platform.run("agent", {"text": "ann"}, webhook="http://hooks.invalid/")

    async def lost(host: str, port: int) -> Sequence[str]:
        raise error

    await sending(platform, resolve=lost).deliver_due()

    [delivery] = await deliveries(platform)
    assert delivery.state == "pending"
    assert said in str(delivery.error)


async def test_a_receiver_that_is_not_there_is_tried_again(deployment: Deployment) -> None:
    platform = await open_platform(deployment)
    await platform.run("agent", {"text": "ann"}, webhook="http://127.0.0.1:1/")

    await sending(platform).deliver_due()

    [delivery] = await deliveries(platform)
    assert (delivery.state, delivery.answer_status) == ("pending", None)
    assert str(delivery.error).startswith("The receiver gave no answer")


@pytest.mark.parametrize(("name", "state"), [("hooks.example", "delivered"), ("other.example", "pending")])
async def test_the_certificate_has_to_be_the_names_though_the_address_is_connected_to(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, state: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(_certificate(tmp_path, "hooks.example")))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    platform = await open_platform(deployment)
    for receiver in _serve(Receiver(), tls=tls):
        await platform.run("agent", {"text": "ann"}, webhook=f"https://{name}:{receiver.port}/hook")

        await sending(platform, resolve=_local).deliver_due()

        [delivery] = await deliveries(platform)
        assert delivery.state == state
        assert [told.headers["host"] for told in receiver.told] == (
            [f"{name}:{receiver.port}"] if state == "delivered" else []
        )


async def test_without_a_secret_webhooks_are_unsigned(deployment: Deployment, receiver: Receiver) -> None:
    platform = await open_platform(deployment)
    await platform.run("agent", {"text": "ann"}, webhook=receiver.url)
    settings = platform.settings.model_copy(update={"webhook_secret": None})

    await WebhookSending(platform._opened.shared.database, settings).deliver_due()

    [told] = receiver.told
    assert "webhook-signature" not in told.headers
    assert told.headers["webhook-id"]


async def test_an_open_platform_sends(deployment: Deployment, receiver: Receiver) -> None:
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()
    receiver.on_request = lambda: loop.call_soon_threadsafe(arrived.set)
    platform = await deployment.open(chain(greet), webhook_allow_private=True)

    await platform.run("agent", {"text": "ann"}, webhook=receiver.url)

    async with asyncio.timeout(20):
        await arrived.wait()


async def _local(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def _certificate(directory: Path, name: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return path
