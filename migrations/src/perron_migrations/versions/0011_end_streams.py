"""Make `ended_streams`, which a trigger fills where runs end, and `run_readers`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NOW = sa.text("now()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "ended_streams",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("is_resumable", sa.Boolean(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("run_id", name="pk_ended_streams"),
        schema="perron",
    )
    op.create_index("ix_ended_streams_ended_at", "ended_streams", ["ended_at"], schema="perron")
    op.create_table(
        "run_readers",
        sa.Column("reader_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("process_key", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=NOW),
        sa.PrimaryKeyConstraint("reader_id", name="pk_run_readers"),
        schema="perron",
    )
    schema, _ = quoted_schemas()
    # A trigger, since runs end in several places. A run that nobody has claimed has said nothing but its end.
    op.execute(f"""
        CREATE FUNCTION {schema}.note_stream_end() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO {schema}.ended_streams (run_id, is_resumable)
            VALUES (NEW.run_id, coalesce((NEW.kwargs->>'stream_resumable')::boolean, false))
            ON CONFLICT DO NOTHING;
            RETURN NULL;
        END $$
    """)
    op.execute(f"""
        CREATE TRIGGER note_stream_end AFTER UPDATE ON {schema}.runs FOR EACH ROW
        WHEN (
            NEW.epoch > 0 AND OLD.status IN ('pending', 'running') AND NEW.status NOT IN ('pending', 'running')
        )
        EXECUTE FUNCTION {schema}.note_stream_end()
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP TRIGGER note_stream_end ON {schema}.runs")
    op.execute(f"DROP FUNCTION {schema}.note_stream_end()")
    op.drop_table("run_readers", schema="perron")
    op.drop_table("ended_streams", schema="perron")
