"""Where webhooks may go."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from perron.errors import InternalAddressError, InvalidInputError
from perron.services.webhook_address import Resolve, WebhookAddress, check_webhook


def knows(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "localhost",
    ],
)
async def test_an_internal_address_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(InternalAddressError, match="leads to an internal address"):
        await check_webhook(f"http://{host}:8080/hook", allow_private=False)

    await check_webhook(f"http://{host}:8080/hook", allow_private=True)


@pytest.mark.parametrize("ip", ["10.0.0.1", "::1"])
async def test_a_name_is_as_internal_as_one_of_its_addresses(ip: str) -> None:
    address = WebhookAddress.parse("https://hooks.example/perron")

    with pytest.raises(InternalAddressError):
        await address.resolve(allow_private=False, resolve=knows("93.184.215.14", ip))


async def test_a_public_address_is_taken() -> None:
    address = WebhookAddress.parse("https://hooks.example/perron")

    found = await address.resolve(allow_private=False, resolve=knows("93.184.215.14", "2606:2800:21f::1"))

    assert found == ("93.184.215.14", "2606:2800:21f::1")


async def test_a_name_that_nobody_knows_yet_may_be_known_at_the_end() -> None:
    await check_webhook("https://hooks.invalid/perron", allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "ftp://hooks.example/x",
        "file:///etc/passwd",
        "http://",
        "http://hooks.example:99999/",
        "http://[::1/",
        "http://hooks.example/a b",
        "http://hooks.example/\r\nx: y",
        f"http://{'a' * 70}.example/",
    ],
)
async def test_what_cannot_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="is no address for a webhook"):
        await check_webhook(url, allow_private=True)


async def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInputError, match="no user and no password") as refused:
        await check_webhook("https://ann:canary@hooks.example/", allow_private=True)

    assert "canary" not in refused.value.message


@pytest.mark.parametrize(
    ("url", "ip", "target", "host"),
    [
        ("https://hooks.example/a?b=c#d", "93.184.215.14", "https://93.184.215.14:443/a?b=c", "hooks.example"),
        ("http://hooks.example:8080", "2001:db8::1", "http://[2001:db8::1]:8080/", "hooks.example:8080"),
        ("https://bücher.example/x", "93.184.215.14", "https://93.184.215.14:443/x", "xn--bcher-kva.example"),
    ],
)
def test_the_request_names_the_host_and_goes_to_the_address(url: str, ip: str, target: str, host: str) -> None:
    address = WebhookAddress.parse(url)

    assert (address.at(ip), address.host_header) == (target, host)
