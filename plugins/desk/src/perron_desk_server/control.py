"""The levers of a running desk, from another process: its book and its faults."""

import asyncio
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import TypeAdapter

from perron_desk_server.book import Effect
from perron_desk_server.faults import ArmedFault, FaultKind

_EFFECTS = TypeAdapter(list[Effect])
_COUNTS = TypeAdapter(dict[str, int])
_COUNTS_BY_SUBJECT = TypeAdapter(dict[str, dict[str, int]])


class DeskControl:
    """The book and the faults of the desk at `url`. It may be used by several threads.

    Methods raise `httpx.HTTPError` when the desk is gone or refuses.
    """

    def __init__(self, url: str, *, token: str) -> None:
        self.url = url
        self.token = token
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()

    @property
    def aio(self) -> "AsyncDeskControl":
        """The same, to be awaited."""
        return AsyncDeskControl(self)

    def close(self) -> None:
        """Close the connections to the desk."""
        self._client.close()

    def book(self, kind: str | None = None, subject: str | None = None, ref: str | None = None) -> list[Effect]:
        """The effects that fit all filters given, oldest first."""
        filters = {"kind": kind, "subject": subject, "ref": ref}
        parameters = {name: value for name, value in filters.items() if value is not None}
        return _EFFECTS.validate_json(self._request("GET", "/book", params=parameters).content)

    def counts(self) -> dict[str, int]:
        """How many effects there are of each kind, zeros included."""
        return _COUNTS.validate_json(self._request("GET", "/book/counts").content)

    def counts_by_subject(self) -> dict[str, dict[str, int]]:
        """How many effects of each kind each subject has had."""
        answer = self._request("GET", "/book/counts", params={"by": "subject"})
        return _COUNTS_BY_SUBJECT.validate_json(answer.content)

    def reset(self) -> None:
        """Let the desk forget its book, tickets, refunds with their keys, and frozen cards."""
        self._request("DELETE", "/book")

    def arm(
        self,
        kind: str,
        path: str = "*",
        times: int = 1,
        *,
        delay_s: float = 1.0,
        status: int | None = None,
        retry_after_s: int = 1,
    ) -> None:
        """Let the next `times` requests go wrong that fit the glob `path`, such as `POST /payments/*`."""
        fault = ArmedFault(
            kind=FaultKind(kind),
            path=path,
            times=times,
            delay_s=delay_s,
            status=status,
            retry_after_s=retry_after_s,
        )
        self._request("POST", "/faults", json=fault.model_dump(mode="json"))

    def disarm(self) -> None:
        """Take all armed faults away."""
        self._request("DELETE", "/faults")

    def release(self) -> int:
        """Let all held requests go on; how many there were."""
        released: int = self._request("POST", "/faults/release").json()["released"]
        return released

    def wait_held(self, timeout_s: float = 10.0, *, at_least: int = 1) -> list[str]:
        """The held requests, as `METHOD /path`, once there are so many.

        Raises:
            TimeoutError: There are not so many after this time.
        """
        answer = self._request(
            "GET", "/faults/held", params={"wait_s": timeout_s, "at_least": at_least}, timeout=timeout_s + 10
        )
        requests: list[str] = answer.json()["requests"]
        if len(requests) < at_least:
            raise TimeoutError(f"{len(requests)} requests are held after {timeout_s} s, not {at_least}")
        return requests

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._client.request(method, path, **options).raise_for_status()


class AsyncDeskControl:
    """A `DeskControl` whose methods are awaited; they run in threads."""

    def __init__(self, control: DeskControl) -> None:
        self._control = control

    async def book(
        self, kind: str | None = None, subject: str | None = None, ref: str | None = None
    ) -> list[Effect]:
        """See `DeskControl.book`."""
        return await asyncio.to_thread(self._control.book, kind, subject, ref)

    async def counts(self) -> dict[str, int]:
        """See `DeskControl.counts`."""
        return await asyncio.to_thread(self._control.counts)

    async def counts_by_subject(self) -> dict[str, dict[str, int]]:
        """See `DeskControl.counts_by_subject`."""
        return await asyncio.to_thread(self._control.counts_by_subject)

    async def reset(self) -> None:
        """See `DeskControl.reset`."""
        await asyncio.to_thread(self._control.reset)

    async def arm(
        self,
        kind: str,
        path: str = "*",
        times: int = 1,
        *,
        delay_s: float = 1.0,
        status: int | None = None,
        retry_after_s: int = 1,
    ) -> None:
        """See `DeskControl.arm`."""
        await asyncio.to_thread(
            self._control.arm, kind, path, times, delay_s=delay_s, status=status, retry_after_s=retry_after_s
        )

    async def disarm(self) -> None:
        """See `DeskControl.disarm`."""
        await asyncio.to_thread(self._control.disarm)

    async def release(self) -> int:
        """See `DeskControl.release`."""
        return await asyncio.to_thread(self._control.release)

    async def wait_held(self, timeout_s: float = 10.0, *, at_least: int = 1) -> list[str]:
        """See `DeskControl.wait_held`."""
        return await asyncio.to_thread(self._control.wait_held, timeout_s, at_least=at_least)
