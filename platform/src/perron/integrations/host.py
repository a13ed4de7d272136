"""`Integrations`: what all calls of a process share: HTTP clients, threads, connections."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pydantic import BaseModel, TypeAdapter

from perron.caller import Caller
from perron.errors import UnknownNameError
from perron.integrations.api.api import Api
from perron.integrations.api.direct_call import DirectCall
from perron.integrations.api.line import Credentials, Line
from perron.integrations.api.transport import HttpClients
from perron.integrations.connections.connections import Connections
from perron.integrations.exchange import CallSpec
from perron.integrations.integration import Account, Integration

_THREADS = 64
_CHECK_TIMEOUT_S = 15.0


class Integrations:
    """One per platform; made without opening anything, closed with it."""

    def __init__(
        self, connections: Connections, *, versions: Mapping[str, str | None], http: HttpClients | None = None
    ) -> None:
        """`versions` has the distribution's version of each integration that is loaded, by key."""
        self.connections = connections
        self._versions = versions
        self._http = http or HttpClients()
        # A pool of our own: sync nodes sit in the loop's, and wait there for effects that need a thread.
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="perron-effect")

    def version(self, key: str) -> str | None:
        """Return the version of the plugin that an integration came from.

        Raises:
            UnknownNameError: No loaded plugin has it.
        """
        if key not in self._versions:
            raise UnknownNameError("integration", key, self._versions)
        return self._versions[key]

    def line(self, integration: type[Integration[Any, Any]], base_url: str, caller: Caller) -> Line:
        """Return the way to an API for a principal. Nothing is looked up before a request leaves."""
        return Line(
            client=self._http.get(integration.key, base_url),
            base_url=base_url,
            credentials=partial(self.connections.find, integration, caller),
            refused=partial(self.connections.refused, integration, caller),
        )

    async def check(self, opened: Integration[Any, Any], credentials: BaseModel) -> Account:
        """Ask an API who somebody is there, outside the journal.

        Raises:
            IntegrationError: It does not accept the credentials, or does not answer.
        """
        assert opened.auth is not None
        headers = opened.auth.headers(credentials)

        async def given() -> Credentials:
            return Credentials(None, headers)

        async def refused(_: Credentials) -> None:
            """Who checks is told by the error."""

        line = Line(self._http.get(opened.key, opened.base_url), opened.base_url, given, refused)
        key = f"{opened.key}.check"
        spec = CallSpec(key=key, effect="read", timeout_s=_CHECK_TIMEOUT_S, output=TypeAdapter(Account))
        return await opened.check(Api(DirectCall(key), spec, line))

    async def close(self) -> None:
        """Close all connections; threads that still run are left to end by themselves."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        await self._http.close()
