"""`integration(Desk)`: an integration's operations, for the code of a run."""

from __future__ import annotations

from typing import Any, TypeVar

from perron.integrations.integration import Integration
from perron.integrations.run.context import current_run

N = TypeVar("N", bound=Integration[Any, Any])


def integration(declared: type[N]) -> N:
    """Return an integration as the current run may use it: `await integration(Desk).refund(payment, cents)`.

    Raises:
        OutsidePlatformError: There is no run here.
        UnknownNameError: No loaded plugin has this integration.
        ConfigurationError: A setting of it does not fit.
    """
    context = current_run(f"integration({declared.__name__})")
    context.integrations.version(declared.key)
    return declared.open(context.settings.get(declared.key, {}))
