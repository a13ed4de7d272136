"""`perron webhooks` and `perron run --webhook`, as their users have them."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import psycopg
import pytest
from tests.cli.conftest import CommandLine
from tests.cli.test_doctor import HEALTHY

from perron.cli.checks.work import check_work
from perron.services.health import Health

TEXT = '{"text": "hello"}'


class Hook(BaseHTTPRequestHandler):
    """Takes everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook"
        server.shutdown()
        thread.join()


def test_a_run_tells_its_webhook_before_the_command_ends(cli: CommandLine, url: str) -> None:
    cli.set("PERRON_WEBHOOK_ALLOW_PRIVATE", "true")

    done = cli("run", "echo", "-i", TEXT, "--webhook", url)

    assert done.code == 0
    assert "The webhook has been told." in done.err
    [row] = cli("webhooks", "list", "--json").json
    assert (row["state"], row["url"], row["answer_status"]) == ("delivered", url, 204)
    assert "nothing to send again" in cli("webhooks", "retry", row["delivery_id"]).err


def test_a_delivery_that_was_given_up_is_listed_found_by_doctor_and_retried(
    cli: CommandLine, database_url: str
) -> None:
    cli.set("PERRON_WEBHOOK_ALLOW_PRIVATE", "true")
    done = cli("run", "echo", "-i", TEXT, "--webhook", "http://127.0.0.1:1/hook")
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE perron.webhook_deliveries SET state = 'failed'")

    [row] = cli("webhooks", "list", "--state", "failed", "--json").json
    findings = {finding["text"] for finding in cli("doctor", "--json").json if finding["area"] == "webhooks"}

    assert done.code == 0
    assert "The webhook has not been told: The receiver gave no answer" in done.err
    assert "1 given up." in findings
    assert any("internal addresses" in text for text in findings)
    assert any("sent unsigned" in text for text in findings)
    assert "is due now" in cli("webhooks", "retry", row["delivery_id"]).out
    assert cli("webhooks", "list", "--json").json[0]["state"] == "pending"


def test_an_internal_webhook_is_refused_in_a_sentence(cli: CommandLine) -> None:
    refused = cli("run", "echo", "-i", TEXT, "--webhook", "http://169.254.169.254/")

    assert refused.code == 2
    assert "leads to an internal address" in refused.err


@pytest.mark.parametrize("secret", ["nonsense", "c2hvcnQ="])
def test_a_secret_that_signs_nothing_is_refused_and_not_repeated(cli: CommandLine, secret: str) -> None:
    cli.set("PERRON_WEBHOOK_SECRET", secret)

    refused = cli("runs", "list")

    assert refused.code == 2
    assert "openssl rand -base64 32" in refused.err
    assert secret not in refused.err


def test_doctor_finds_crons_and_webhooks_that_do_not_get_on() -> None:
    health = Health(**{**HEALTHY, "failed_crons": 1, "overdue_crons": 2, "overdue_webhooks": 3})

    texts = {finding.area: finding.text for finding in check_work(health, []) if finding.state == "warning"}

    assert texts == {
        "crons": "2 due for more than 60 s and not fired.",
        "webhooks": "3 due for more than 60 s and not sent.",
    }
