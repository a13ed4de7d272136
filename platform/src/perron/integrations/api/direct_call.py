"""Reads without a journal: for checking a connection, and for looking up what a write did."""

from __future__ import annotations

from perron.errors import DefinitionError, Upstream
from perron.integrations.exchange import Exchange, NoAnswer, NotSent, Outgoing, Prepare, Transport


class DirectCall:
    """An `ActiveCall` that only reads, once, and keeps no record."""

    def __init__(self, key: str, marker: str = "") -> None:
        self._key = key
        self.marker = marker

    async def send(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Refuse.

        Raises:
            DefinitionError: Always: what is done here may be done again.
        """
        raise DefinitionError(f"{self._key} may only read: it sends {out.method} {out.path}.")

    async def read(self, out: Outgoing, transport: Transport, *, prepare: Prepare | None = None) -> Exchange:
        """Read once.

        Raises:
            Upstream: There was no answer.
        """
        if prepare is not None:
            await prepare()
        try:
            return await transport(lambda: None)
        except (NotSent, NoAnswer) as exc:
            raise Upstream(
                f"{self._key}: {out.host} does not answer.",
                detail=f"{self._key}: {out.method} {out.host}{out.path}: {exc.detail}",
                operation=self._key,
            ) from exc
