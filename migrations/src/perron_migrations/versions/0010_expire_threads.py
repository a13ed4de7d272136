"""Say in `threads` when a thread with a time to live is due, and find what has ended by its age."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"ALTER TABLE {schema}.threads ADD COLUMN expires_at timestamptz")
    op.create_index(
        "ix_threads_expires_at",
        "threads",
        ["expires_at"],
        schema="perron",
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_webhook_deliveries_ended",
        "webhook_deliveries",
        ["updated_at"],
        schema="perron",
        postgresql_where=sa.text("state <> 'pending'"),
    )
    # Triggers, since threads are updated in several places, by the previous release too: none of them can forget
    # it. Threads without a time to live cost the comparison of WHEN.
    op.execute(f"""
        CREATE FUNCTION {schema}.set_thread_expiry() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.expires_at := NEW.updated_at + make_interval(secs => 60 * (NEW.ttl ->> 'ttl_minutes')::float8);
            RETURN NEW;
        END $$
    """)
    op.execute(f"""
        CREATE TRIGGER set_expiry_of_new BEFORE INSERT ON {schema}.threads FOR EACH ROW
        WHEN (NEW.ttl IS NOT NULL) EXECUTE FUNCTION {schema}.set_thread_expiry()
    """)
    op.execute(f"""
        CREATE TRIGGER set_expiry BEFORE UPDATE ON {schema}.threads FOR EACH ROW
        WHEN (
            NEW.ttl IS DISTINCT FROM OLD.ttl
            OR NEW.ttl IS NOT NULL AND NEW.updated_at IS DISTINCT FROM OLD.updated_at
        )
        EXECUTE FUNCTION {schema}.set_thread_expiry()
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP TRIGGER set_expiry ON {schema}.threads")
    op.execute(f"DROP TRIGGER set_expiry_of_new ON {schema}.threads")
    op.execute(f"DROP FUNCTION {schema}.set_thread_expiry()")
    op.drop_index("ix_webhook_deliveries_ended", "webhook_deliveries", schema="perron")
    op.drop_index("ix_threads_expires_at", "threads", schema="perron")
    op.execute(f"ALTER TABLE {schema}.threads DROP COLUMN expires_at")
