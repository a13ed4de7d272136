"""Where webhooks may go: addresses that are not internal."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from perron.errors import InternalAddressError, InvalidInputError

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port → IP addresses; raises OSError."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

RESOLVE_S = 5.0
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Public by its number, yet it is what Azure's machines ask about themselves.
_METADATA = frozenset({ipaddress.IPv4Address("168.63.129.16")})


@dataclass(frozen=True, slots=True)
class WebhookAddress:
    """The URL of a webhook, in parts."""

    url: str
    host: str
    """In ASCII, as certificates have it."""
    port: int

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            InvalidInputError: It is none that can be sent to.
        """
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("idna").decode("ascii")
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:  # a UnicodeError is one
            host, port = "", 0
        if not host or not port or not url.isprintable() or " " in url:
            raise InvalidInputError(
                f"{url!r} is no address for a webhook: it is as in https://hooks.example/perron."
            )
        if parts.username is not None or parts.password is not None:
            raise InvalidInputError("A webhook's address has no user and no password: put a token into its path.")
        return cls(url, host, port)

    @property
    def host_header(self) -> str:
        """The `Host` of a request there."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[urlsplit(self.url).scheme] else f"{host}:{self.port}"

    def at(self, ip: str) -> str:
        """Return the URL with an IP address in place of the host."""
        parts = urlsplit(self.url)
        host = f"[{ip}]" if ":" in ip else ip
        return urlunsplit((parts.scheme, f"{host}:{self.port}", parts.path or "/", parts.query, ""))

    async def resolve(self, *, allow_private: bool, resolve: Resolve | None = None) -> Sequence[str]:
        """Return the IP addresses that may be connected to; the name itself must not be used after this.

        Raises:
            InternalAddressError: One of them is internal.
            OSError: The name cannot be resolved, or not in time.
        """
        literal = _literal(self.host)
        if literal is not None:
            found: Sequence[str] = [str(literal)]
        else:
            async with asyncio.timeout(RESOLVE_S):
                found = await (resolve or _resolve)(self.host, self.port)
        if not allow_private and any(_is_internal(ipaddress.ip_address(ip)) for ip in found):
            raise InternalAddressError(
                f"The webhook {self.host} leads to an internal address: webhooks go to public ones only, unless "
                "an operator sets PERRON_WEBHOOK_ALLOW_PRIVATE=true."
            )
        return found


async def check_webhook(url: str, *, allow_private: bool) -> None:
    """Refuse what can never be sent to. A name that cannot be resolved now may be by the end of the run.

    Raises:
        InvalidInputError: It is no URL, or leads to an internal address.
    """
    address = WebhookAddress.parse(url)
    try:
        await address.resolve(allow_private=allow_private)
    except OSError:  # a TimeoutError is one
        return


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:  # 127.1, 2130706433 and 0x7f.1 are addresses too, to whoever connects
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _is_internal(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return _is_internal(inner)
    return not address.is_global or address.is_multicast or address in _METADATA


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]).partition("%")[0] for *_, where in found))
