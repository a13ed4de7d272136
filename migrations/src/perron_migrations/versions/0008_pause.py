"""Make the table `pauses`, and the column by which a run waits for one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    now = sa.text("now()")
    op.create_table(
        "pauses",
        sa.Column("pause_id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False, server_default="default"),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, server_default=""),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=now),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=now),
        sa.PrimaryKeyConstraint("pause_id", name="pk_pauses"),
        sa.UniqueConstraint("tenant", "kind", "name", name="uq_pauses_tenant_kind_name"),
        schema="perron",
    )
    schema, _ = quoted_schemas()
    op.execute(f"ALTER TABLE {schema}.runs ADD COLUMN parked_by uuid")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"ALTER TABLE {schema}.runs DROP COLUMN parked_by")
    op.drop_table("pauses", schema="perron")
