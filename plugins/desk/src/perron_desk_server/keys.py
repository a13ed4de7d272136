"""Idempotency keys that are being worked on."""

from collections.abc import Iterator
from contextlib import contextmanager

from perron_desk_server.errors import KeyInProgressError, KeyReusedError


class KeysInProgress:
    """Which keys have a request in progress, and for what.

    In memory only: a refund is stored with its key or not at all, so a desk that died has none in progress.
    """

    def __init__(self) -> None:
        self._requests: dict[str, tuple[str, int]] = {}

    @contextmanager
    def claim(self, key: str, payment: str, amount_cents: int) -> Iterator[None]:
        """Keep the key for the time of the block.

        Raises:
            KeyInProgressError: The same request is in progress.
            KeyReusedError: The key is in progress for another payment or amount.
        """
        request = (payment, amount_cents)
        if (other := self._requests.get(key)) is not None:
            raise KeyInProgressError(key) if other == request else KeyReusedError(key)
        self._requests[key] = request
        try:
            yield
        finally:
            del self._requests[key]
