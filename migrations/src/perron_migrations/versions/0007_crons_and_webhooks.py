"""Make `crons` and `webhook_deliveries`, and write down each end of a run that a webhook is to be told of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from perron_migrations.schemas import quoted_schemas

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT, INTEGER, BOOLEAN = sa.Text(), sa.Integer(), sa.Boolean()
UUID, JSON, TIME = sa.Uuid(), JSONB(), sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"ALTER TABLE {schema}.runs ADD COLUMN webhook text")
    op.execute(f"ALTER TABLE {schema}.threads ADD COLUMN is_temporary boolean NOT NULL DEFAULT false")
    op.create_index(
        "ix_threads_temporary", "threads", ["thread_id"], schema="perron", postgresql_where=sa.text("is_temporary")
    )
    _crons()
    _webhook_deliveries()
    _write_outbox()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP TRIGGER write_webhook_delivery ON {schema}.runs")
    op.execute(f"DROP FUNCTION {schema}.write_webhook_delivery()")
    op.drop_table("webhook_deliveries", schema="perron")
    op.drop_table("crons", schema="perron")
    op.drop_index("ix_threads_temporary", "threads", schema="perron")
    op.execute(f"ALTER TABLE {schema}.threads DROP COLUMN is_temporary")
    op.execute(f"ALTER TABLE {schema}.runs DROP COLUMN webhook")


def _crons() -> None:
    op.create_table(
        "crons",
        sa.Column("cron_id", UUID, nullable=False),
        sa.Column("assistant_id", UUID),
        sa.Column("graph_id", TEXT, nullable=False),
        sa.Column("thread_id", UUID),
        sa.Column("schedule", TEXT, nullable=False),
        sa.Column("timezone", TEXT),
        sa.Column("end_time", TIME),
        sa.Column("payload", JSON, server_default="{}", nullable=False),
        sa.Column("metadata", JSON, server_default="{}", nullable=False),
        sa.Column("on_run_completed", TEXT),
        sa.Column("enabled", BOOLEAN, server_default="true", nullable=False),
        sa.Column("error", TEXT),
        sa.Column("next_run_date", TIME),
        *_owned(),
        sa.PrimaryKeyConstraint("cron_id", name="pk_crons"),
        sa.ForeignKeyConstraint(
            ["assistant_id"],
            ["perron.assistants.assistant_id"],
            name="fk_crons_assistant_id_assistants",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["perron.threads.thread_id"], name="fk_crons_thread_id_threads", ondelete="CASCADE"
        ),
        schema="perron",
    )
    op.create_index("ix_crons_assistant_id", "crons", ["assistant_id"], schema="perron")
    op.create_index("ix_crons_thread_id", "crons", ["thread_id"], schema="perron")
    op.create_index("ix_crons_tenant_created_at", "crons", ["tenant", "created_at"], schema="perron")
    op.create_index(
        "ix_crons_next_run_date",
        "crons",
        ["next_run_date"],
        schema="perron",
        postgresql_where=sa.text("next_run_date IS NOT NULL"),
    )


def _webhook_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("delivery_id", UUID, nullable=False),
        sa.Column("run_id", UUID, nullable=False),
        sa.Column("thread_id", UUID, nullable=False),
        sa.Column("url", TEXT, nullable=False),
        sa.Column("run", JSON),
        sa.Column("values", JSON),
        sa.Column("interrupts", JSON),
        sa.Column("state", TEXT, server_default="pending", nullable=False),
        sa.Column("attempts", INTEGER, server_default="0", nullable=False),
        sa.Column("due_at", TIME, server_default=NOW, nullable=False),
        sa.Column("answer_status", INTEGER),
        sa.Column("error", TEXT),
        sa.Column("delivered_at", TIME),
        *_owned(),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_webhook_deliveries"),
        schema="perron",
    )
    op.create_index("ix_webhook_deliveries_run_id", "webhook_deliveries", ["run_id"], schema="perron")
    op.create_index(
        "ix_webhook_deliveries_tenant_state_created_at",
        "webhook_deliveries",
        ["tenant", "state", "created_at"],
        schema="perron",
    )
    op.create_index(
        "ix_webhook_deliveries_due_at",
        "webhook_deliveries",
        ["due_at"],
        schema="perron",
        postgresql_where=sa.text("state = 'pending'"),
    )


def _write_outbox() -> None:
    schema, _ = quoted_schemas()
    # A trigger, since runs end in several places: none of them can forget it. Deferred, since the thread has its
    # new state only at the end of the transaction. Runs without a webhook cost the comparison of WHEN.
    op.execute(f"""
        CREATE FUNCTION {schema}.write_webhook_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            thread {schema}.threads;
        BEGIN
            SELECT * INTO thread FROM {schema}.threads t WHERE t.thread_id = NEW.thread_id;
            INSERT INTO {schema}.webhook_deliveries (
                delivery_id, tenant, owner, run_id, thread_id, url, run, values, interrupts
            ) VALUES (
                gen_random_uuid(), NEW.tenant, NEW.owner, NEW.run_id, NEW.thread_id, NEW.webhook,
                jsonb_build_object(
                    'run_id', NEW.run_id,
                    'thread_id', NEW.thread_id,
                    'assistant_id', NEW.assistant_id,
                    'metadata', NEW.metadata,
                    'status', NEW.status,
                    'kwargs', NEW.kwargs - '{{settings,is_branch}}'::text[]
                        || jsonb_build_object('webhook', NEW.webhook),
                    'multitask_strategy', NEW.multitask_strategy,
                    'created_at', NEW.created_at,
                    'updated_at', NEW.updated_at,
                    'run_started_at', NEW.started_at,
                    'run_ended_at', NEW.finished_at,
                    'error', NEW.error
                ),
                thread.values,
                CASE NEW.status WHEN 'success' THEN (
                    SELECT jsonb_agg(i) FROM jsonb_each(thread.interrupts) t, jsonb_array_elements(t.value) i
                ) END
            );
            RETURN NULL;
        END $$
    """)
    op.execute(f"""
        CREATE CONSTRAINT TRIGGER write_webhook_delivery AFTER UPDATE ON {schema}.runs
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (
            NEW.webhook IS NOT NULL AND OLD.status IN ('pending', 'running')
            AND NEW.status NOT IN ('pending', 'running')
        )
        EXECUTE FUNCTION {schema}.write_webhook_delivery()
    """)


def _owned() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("tenant", TEXT, server_default="default", nullable=False),
        sa.Column("owner", TEXT, server_default="system", nullable=False),
        sa.Column("updated_at", TIME, server_default=NOW, nullable=False),
        sa.Column("created_at", TIME, server_default=NOW, nullable=False),
    )
