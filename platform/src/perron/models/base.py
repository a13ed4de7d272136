"""What all tables share: metadata with a naming convention, owner and time columns."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, MetaData, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncAttrs
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "perron"  # translated to the setting `database_schema` by the engine


class Base(AsyncAttrs, DeclarativeBase):
    """Text instead of varchar, times with zone, JSONB for what has its shape in a comment."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map: ClassVar = {
        str: Text(),
        datetime: DateTime(timezone=True),
        UUID: Uuid(),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
        list[str]: JSONB(),
    }


class Owned:
    """A thing of users: whose it is stands in every query."""

    tenant: Mapped[str] = mapped_column(server_default="default")
    owner: Mapped[str] = mapped_column(server_default="system")


class Created:
    """When the row was made, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Stamped(Created):
    """When the row was made and last changed, by the database's clock."""

    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
