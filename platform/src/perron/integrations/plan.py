"""What is known of an operation or effect before it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perron.integrations.exchange import CallSpec
from perron.integrations.signature import Signature


@dataclass(frozen=True, slots=True)
class Plan:
    """The function, its schemas, and how the journal keeps its calls."""

    function: Callable[..., Any]
    signature: Signature
    spec: CallSpec
