"""Make the tables, with events partitioned by time."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT, INTEGER, BOOLEAN = sa.Text(), sa.Integer(), sa.Boolean()
DOUBLE: sa.Double[float] = sa.Double()
UUID, JSON, BYTES, TIME = sa.Uuid(), JSONB(), sa.LargeBinary(), sa.DateTime(timezone=True)
NOW = sa.text("now()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _agents()
    _threads_and_runs()
    _run_events()
    _asks()
    _journal()
    _connections_and_settings()
    _schema_info()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in (
        "schema_info",
        "setting_history",
        "settings",
        "connections",
        "call_attempts",
        "calls",
        "ask_answers",
        "asks",
        "run_events",
        "workers",
        "runs",
        "threads",
        "plugins",
        "assistant_versions",
        "assistants",
        "agents",
    ):
        op.drop_table(table, schema="perron")


def _agents() -> None:
    op.create_table(
        "agents",
        _column("graph_id", TEXT),
        _column("description", TEXT, ""),
        _nullable("distribution", TEXT),
        _nullable("version", TEXT),
        _column("entry_point", TEXT, ""),
        _column("schemas", JSON, "{}"),
        _column("uses", JSON, "[]"),
        _column("state", TEXT, "loaded"),
        _nullable("error", TEXT),
        *_stamped(),
        sa.PrimaryKeyConstraint("graph_id", name="pk_agents"),
        schema="perron",
    )
    op.create_table(
        "assistants",
        _column("assistant_id", UUID),
        _column("graph_id", TEXT),
        _column("name", TEXT),
        _nullable("description", TEXT),
        _column("version", INTEGER, "1"),
        _column("config", JSON, "{}"),
        _column("context", JSON, "{}"),
        _column("metadata", JSON, "{}"),
        *_owned(),
        *_stamped(),
        sa.PrimaryKeyConstraint("assistant_id", name="pk_assistants"),
        schema="perron",
    )
    op.create_index(
        "ix_assistants_tenant_graph_id_created_at",
        "assistants",
        ["tenant", "graph_id", "created_at"],
        schema="perron",
    )
    op.create_table(
        "assistant_versions",
        _column("assistant_id", UUID),
        _column("version", INTEGER),
        _column("graph_id", TEXT),
        _column("name", TEXT),
        _nullable("description", TEXT),
        _column("config", JSON, "{}"),
        _column("context", JSON, "{}"),
        _column("metadata", JSON, "{}"),
        _column("created_at", TIME, NOW),
        sa.PrimaryKeyConstraint("assistant_id", "version", name="pk_assistant_versions"),
        sa.ForeignKeyConstraint(
            ["assistant_id"],
            ["perron.assistants.assistant_id"],
            name="fk_assistant_versions_assistant_id_assistants",
            ondelete="CASCADE",
        ),
        schema="perron",
    )
    op.create_table(
        "plugins",
        _column("name", TEXT),
        _nullable("distribution", TEXT),
        _nullable("version", TEXT),
        _column("state", TEXT),
        _nullable("error", TEXT),
        _nullable("load_ms", INTEGER),
        *_stamped(),
        sa.PrimaryKeyConstraint("name", name="pk_plugins"),
        schema="perron",
    )


def _threads_and_runs() -> None:
    op.create_table(
        "threads",
        _column("thread_id", UUID),
        _column("metadata", JSON, "{}"),
        _column("status", TEXT, "idle"),
        _nullable("values", JSON),
        _column("interrupts", JSON, "{}"),
        _column("config", JSON, "{}"),
        _nullable("error", JSON),
        _nullable("ttl", JSON),
        _column("next_seq", INTEGER, "1"),
        _nullable("data_key", BYTES),
        _column("state_updated_at", TIME, NOW),
        *_owned(),
        *_stamped(),
        sa.PrimaryKeyConstraint("thread_id", name="pk_threads"),
        schema="perron",
    )
    op.create_index(
        "ix_threads_metadata",
        "threads",
        ["metadata"],
        schema="perron",
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    )
    op.create_index(
        "ix_threads_tenant_status_created_at", "threads", ["tenant", "status", "created_at"], schema="perron"
    )
    op.create_table(
        "runs",
        _column("run_id", UUID),
        _column("thread_id", UUID),
        _nullable("assistant_id", UUID),
        _column("graph_id", TEXT),
        _nullable("agent_version", TEXT),
        _column("seq", INTEGER),
        _column("status", TEXT, "pending"),
        _column("epoch", INTEGER, "0"),
        _column("attempt", INTEGER, "0"),
        _nullable("claimed_checkpoint_id", TEXT),
        _nullable("not_before", TIME),
        _column("priority", INTEGER, "0"),
        _column("multitask_strategy", TEXT, "enqueue"),
        _column("created_by", TEXT, "system"),
        _nullable("idempotency_key", TEXT),
        _column("input_applied", BOOLEAN, "false"),
        _nullable("cancel_action", TEXT),
        _column("kwargs", JSON, "{}"),
        _nullable("worker_id", UUID),
        _nullable("output", JSON),
        _column("is_sanitised", BOOLEAN, "false"),
        _nullable("error", JSON),
        _column("metadata", JSON, "{}"),
        _nullable("started_at", TIME),
        _nullable("finished_at", TIME),
        *_owned(),
        *_stamped(),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
        sa.ForeignKeyConstraint(
            ["assistant_id"],
            ["perron.assistants.assistant_id"],
            name="fk_runs_assistant_id_assistants",
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["perron.threads.thread_id"], name="fk_runs_thread_id_threads", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("thread_id", "seq", name="uq_runs_thread_id_seq"),
        schema="perron",
    )
    op.create_index(
        "ix_runs_active",
        "runs",
        ["thread_id", "seq"],
        schema="perron",
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_index("ix_runs_assistant_id", "runs", ["assistant_id"], schema="perron")
    op.create_index(
        "ix_runs_tenant_status_created_at", "runs", ["tenant", "status", "created_at"], schema="perron"
    )
    op.create_index(
        "uq_runs_idempotency_key",
        "runs",
        ["tenant", "created_by", "idempotency_key"],
        schema="perron",
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "workers",
        _column("worker_id", UUID),
        _column("host", TEXT),
        _column("pid", INTEGER),
        _column("version", TEXT),
        _column("agents", JSON, "[]"),
        _column("lease_s", DOUBLE),
        _column("started_at", TIME, NOW),
        _column("beat_at", TIME, NOW),
        sa.PrimaryKeyConstraint("worker_id", name="pk_workers"),
        schema="perron",
    )
    op.create_index("ix_workers_beat_at", "workers", ["beat_at"], schema="perron")


def _run_events() -> None:
    op.create_table(
        "run_events",
        _column("run_id", UUID),
        _column("epoch", INTEGER),
        _column("n", INTEGER),
        _column("n_first", INTEGER),
        _column("event", TEXT),
        _column("namespace", TEXT, ""),
        _nullable("payload", JSON),
        _column("created_at", TIME, NOW),
        sa.PrimaryKeyConstraint("run_id", "epoch", "n", name="pk_run_events"),
        schema="perron",
        postgresql_partition_by="RANGE (run_id)",
    )
    # Stays empty: `perron.database.partitions` makes a partition a week ahead of its use.
    schema = op.get_bind().dialect.identifier_preparer.quote(op.get_context().opts["schema"])
    op.execute(f"CREATE TABLE {schema}.run_events_default PARTITION OF {schema}.run_events DEFAULT")


def _asks() -> None:
    op.create_table(
        "asks",
        _column("ask_id", UUID),
        _column("thread_id", UUID),
        _column("run_id", UUID),
        _column("interrupt_id", TEXT),
        _nullable("call_id", UUID),
        _column("kind", TEXT),
        _column("question", TEXT),
        _nullable("arguments", JSON),
        _column("decisions", JSON, "[]"),
        _nullable("answer_schema", JSON),
        _column("state", TEXT, "open"),
        _nullable("deadline", TIME),
        *_owned(),
        _column("created_at", TIME, NOW),
        sa.PrimaryKeyConstraint("ask_id", name="pk_asks"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["perron.runs.run_id"], name="fk_asks_run_id_runs", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"], ["perron.threads.thread_id"], name="fk_asks_thread_id_threads", ondelete="CASCADE"
        ),
        schema="perron",
    )
    op.create_index("ix_asks_run_id", "asks", ["run_id"], schema="perron")
    op.create_index("ix_asks_tenant_state_created_at", "asks", ["tenant", "state", "created_at"], schema="perron")
    op.create_index(
        "uq_asks_open",
        "asks",
        ["thread_id", "interrupt_id"],
        schema="perron",
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "ask_answers",
        _column("ask_id", UUID),
        _column("decision", TEXT),
        _nullable("value", JSON),
        _column("answered_by", TEXT),
        _column("run_id", UUID),
        _column("created_at", TIME, NOW),
        sa.PrimaryKeyConstraint("ask_id", name="pk_ask_answers"),
        sa.ForeignKeyConstraint(
            ["ask_id"], ["perron.asks.ask_id"], name="fk_ask_answers_ask_id_asks", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["perron.runs.run_id"], name="fk_ask_answers_run_id_runs", ondelete="CASCADE"
        ),
        schema="perron",
    )
    op.create_index("ix_ask_answers_run_id", "ask_answers", ["run_id"], schema="perron")


def _journal() -> None:
    op.create_table(
        "calls",
        _column("call_id", UUID),
        _column("thread_id", UUID),
        _column("run_id", UUID),
        _column("task_id", TEXT),
        _column("tool_call_id", TEXT, ""),
        _column("operation", TEXT),
        _column("slot", TEXT),
        _column("checkpoint_ns", TEXT, ""),
        _column("node", TEXT, ""),
        _nullable("checkpoints", JSON),
        _column("fingerprint", BYTES),
        _column("effect", TEXT),
        _column("repeat", TEXT),
        _column("state", TEXT),
        _nullable("plugin_version", TEXT),
        _nullable("connection_id", UUID),
        _nullable("idempotency_key", TEXT),
        _nullable("arguments", JSON),
        _nullable("result", JSON),
        _nullable("error", JSON),
        _nullable("sealed", BYTES),
        _nullable("finished_at", TIME),
        *_owned(),
        *_stamped(),
        sa.PrimaryKeyConstraint("call_id", name="pk_calls"),
        sa.UniqueConstraint(
            "thread_id",
            "task_id",
            "tool_call_id",
            "operation",
            "slot",
            name="uq_calls_thread_id_task_id_tool_call_id_operation_slot",
        ),
        schema="perron",
    )
    op.create_index("ix_calls_run_id", "calls", ["run_id"], schema="perron")
    op.create_index(
        "ix_calls_sealed",
        "calls",
        ["thread_id", "checkpoint_ns"],
        schema="perron",
        postgresql_where=sa.text("sealed IS NOT NULL"),
    )
    op.create_index(
        "ix_calls_tenant_state_created_at", "calls", ["tenant", "state", "created_at"], schema="perron"
    )
    op.create_index(
        "ix_calls_thread_id_operation_fingerprint",
        "calls",
        ["thread_id", "operation", "fingerprint"],
        schema="perron",
    )
    op.create_table(
        "call_attempts",
        _column("attempt_id", UUID),
        _column("call_id", UUID),
        _column("run_id", UUID),
        _column("epoch", INTEGER),
        _nullable("worker_id", UUID),
        _nullable("method", TEXT),
        _nullable("host", TEXT),
        _nullable("path", TEXT),
        _column("timeout_s", DOUBLE),
        _column("outcome", TEXT),
        _nullable("status", INTEGER),
        _nullable("request_body", JSON),
        _nullable("response_body", JSON),
        _nullable("error", TEXT),
        _column("sent_at", TIME),
        _nullable("finished_at", TIME),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_call_attempts"),
        sa.ForeignKeyConstraint(
            ["call_id"], ["perron.calls.call_id"], name="fk_call_attempts_call_id_calls", ondelete="CASCADE"
        ),
        schema="perron",
    )
    op.create_index("ix_call_attempts_call_id", "call_attempts", ["call_id"], schema="perron")


def _connections_and_settings() -> None:
    op.create_table(
        "connections",
        _column("connection_id", UUID),
        _column("integration", TEXT),
        _column("name", TEXT, "default"),
        _nullable("account_id", TEXT),
        _nullable("account_label", TEXT),
        _column("sealed", BYTES),
        _column("data_key", BYTES),
        _column("key_id", TEXT),
        _column("state", TEXT, "ok"),
        _nullable("reason", TEXT),
        *_owned(),
        *_stamped(),
        sa.PrimaryKeyConstraint("connection_id", name="pk_connections"),
        sa.UniqueConstraint(
            "tenant", "owner", "integration", "name", name="uq_connections_tenant_owner_integration_name"
        ),
        schema="perron",
    )
    op.create_table(
        "settings",
        _column("tenant", TEXT),
        _column("scope", TEXT),
        _column("subject", TEXT, ""),
        _column("key", TEXT),
        _column("value", JSON),
        _column("changed_by", TEXT),
        *_stamped(),
        sa.PrimaryKeyConstraint("tenant", "scope", "subject", "key", name="pk_settings"),
        schema="perron",
    )
    op.create_table(
        "setting_history",
        _column("change_id", UUID),
        _column("tenant", TEXT),
        _column("scope", TEXT),
        _column("subject", TEXT),
        _column("key", TEXT),
        _nullable("old_value", JSON),
        _nullable("new_value", JSON),
        _column("changed_by", TEXT),
        _column("created_at", TIME, NOW),
        sa.PrimaryKeyConstraint("change_id", name="pk_setting_history"),
        schema="perron",
    )
    op.create_index(
        "ix_setting_history_tenant_scope_subject_key_created_at",
        "setting_history",
        ["tenant", "scope", "subject", "key", "created_at"],
        schema="perron",
    )


def _schema_info() -> None:
    # One row, which every release reads at start: a later revision that older releases cannot work with raises
    # `oldest_release`. The name of LangGraph's schema stands in our functions, so it cannot change afterwards.
    info = op.create_table(
        "schema_info",
        _column("oldest_release", TEXT),
        _column("langgraph_schema", TEXT),
        schema="perron",
    )
    op.bulk_insert(
        info, [{"oldest_release": "0.1.0", "langgraph_schema": op.get_context().opts["langgraph_schema"]}]
    )


def _column(name: str, kind: TypeEngine[Any], default: str | sa.TextClause | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind, server_default=default, nullable=False)


def _nullable(name: str, kind: TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind)


def _owned() -> tuple[sa.Column[Any], ...]:
    return _column("tenant", TEXT, "default"), _column("owner", TEXT, "system")


def _stamped() -> tuple[sa.Column[Any], ...]:
    return _column("updated_at", TIME, NOW), _column("created_at", TIME, NOW)
