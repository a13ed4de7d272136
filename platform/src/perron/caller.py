"""Who asks: the first argument of every service method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

DEFAULT_TENANT = "default"
SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal in a tenant; repositories put both into the SQL of every query."""

    principal: str
    tenant: str = DEFAULT_TENANT
    is_admin: bool = False
    """Sees every owner's things of its tenant, and may change settings of the platform."""

    @classmethod
    def system(cls, tenant: str = DEFAULT_TENANT) -> Self:
        """Return the caller of a platform without users: one tenant, everything allowed."""
        return cls(principal=SYSTEM, tenant=tenant, is_admin=True)
