"""Roll runs back: what a run wrote is taken away, and what it replaced is put back.

A run's checkpoints carry its id in their metadata, in every namespace and under every epoch; nobody else writes
checkpoints of the thread while it is active. What it wrote *onto* checkpoints from before it (a resume stores its
answers and results there) and what it cleared of earlier runs' calls is kept until the run ends.
"""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa
from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_WRITE = """
    holder text, thread_id text, ns text, id text, task_id text, task_path text, idx int, channel text, type text,
    data int, replaces boolean
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, langgraph = quoted_schemas()
    # In SQL: of a column that is added, Alembic does not translate the schema's name.
    op.execute(f"ALTER TABLE {schema}.threads ADD COLUMN rest_status text NOT NULL DEFAULT 'idle'")
    op.execute(f"""
        UPDATE {schema}.threads SET rest_status = CASE
            WHEN status <> 'busy' THEN status
            WHEN interrupts <> '{{}}' THEN 'interrupted'
            WHEN error IS NOT NULL THEN 'error'
            ELSE 'idle' END
    """)
    op.create_table(
        "replaced_writes",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("checkpoint_ns", sa.Text(), nullable=False),
        sa.Column("checkpoint_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("task_path", sa.Text()),
        sa.Column("channel", sa.Text()),
        sa.Column("type", sa.Text()),
        sa.Column("blob", sa.LargeBinary()),
        sa.PrimaryKeyConstraint(
            "run_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", name="pk_replaced_writes"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["perron.runs.run_id"], name="fk_replaced_writes_run_id_runs", ondelete="CASCADE"
        ),
        schema="perron",
    )
    op.create_table(
        "kept_seals",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "call_id", name="pk_kept_seals"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["perron.runs.run_id"], name="fk_kept_seals_run_id_runs", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["call_id"], ["perron.calls.call_id"], name="fk_kept_seals_call_id_calls", ondelete="CASCADE"
        ),
        schema="perron",
    )
    op.create_index("ix_kept_seals_call_id", "kept_seals", ["call_id"], schema="perron")
    _put_checkpoints(schema, langgraph)
    _roll_back_run(schema, langgraph)
    _finish_run(schema)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP FUNCTION {schema}.finish_run(uuid, int, jsonb), {schema}.put_checkpoints(jsonb, bytea[])")
    op.execute(f"DROP FUNCTION {schema}.roll_back_run(uuid, int)")
    for before in ("0004_finish_runs", "0005_put_checkpoints"):
        import_module(f"perron_migrations.versions.{before}").upgrade()
    op.drop_table("kept_seals", schema="perron")
    op.drop_table("replaced_writes", schema="perron")
    op.execute(f"ALTER TABLE {schema}.threads DROP COLUMN rest_status")


def _put_checkpoints(schema: str, langgraph: str) -> None:
    # As in revision 0005, and besides: holders in `earlier` write onto checkpoints from before their run.
    op.execute(f"""
        CREATE OR REPLACE FUNCTION {schema}.put_checkpoints(batch jsonb, blobs bytea[]) RETURNS text[]
        LANGUAGE plpgsql AS $$
        DECLARE
            i record;
            held text[] := '{{}}';
        BEGIN
            FOR i IN
                SELECT u.run_id, u.epoch, bool_or(u.applies) AS applies
                FROM jsonb_to_recordset(batch -> 'runs') AS u (run_id uuid, epoch int, applies boolean)
                GROUP BY u.run_id, u.epoch ORDER BY u.run_id, u.epoch
            LOOP
                IF i.applies THEN
                    UPDATE {schema}.runs r SET input_applied = true, updated_at = now()
                    WHERE r.run_id = i.run_id AND r.epoch = i.epoch AND r.status = 'running';
                ELSE
                    PERFORM 1 FROM {schema}.runs r
                    WHERE r.run_id = i.run_id AND r.epoch = i.epoch AND r.status = 'running' FOR SHARE;
                END IF;
                IF FOUND THEN
                    held := held || (i.run_id || '/' || i.epoch);
                END IF;
            END LOOP;
            IF batch ? 'clears' THEN
                INSERT INTO {schema}.kept_seals (run_id, call_id, sealed)
                SELECT split_part(u.holder, '/', 1)::uuid, c.call_id, c.sealed
                FROM jsonb_to_recordset(batch -> 'clears') AS u (holder text, thread_id uuid, ns text)
                JOIN {schema}.calls c ON c.thread_id = u.thread_id AND c.checkpoint_ns = u.ns
                WHERE c.sealed IS NOT NULL AND u.holder = ANY (held)
                    AND c.run_id <> split_part(u.holder, '/', 1)::uuid
                ON CONFLICT DO NOTHING;
                UPDATE {schema}.calls c SET sealed = NULL
                FROM jsonb_to_recordset(batch -> 'clears') AS u (holder text, thread_id uuid, ns text)
                WHERE c.thread_id = u.thread_id AND c.checkpoint_ns = u.ns AND c.sealed IS NOT NULL
                    AND u.holder = ANY (held);
            END IF;
            IF batch ? 'blobs' THEN
                INSERT INTO {langgraph}.checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
                SELECT u.thread_id, u.ns, u.channel, u.version, u.type, blobs[u.data]
                FROM jsonb_to_recordset(batch -> 'blobs')
                    AS u (holder text, thread_id text, ns text, channel text, version text, type text, data int)
                WHERE u.holder = ANY (held)
                ON CONFLICT DO NOTHING;
            END IF;
            IF batch ? 'checkpoints' THEN
                INSERT INTO {langgraph}.checkpoints (
                    thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata
                )
                SELECT u.thread_id, u.ns, u.id, u.parent_id, u.checkpoint, u.metadata
                FROM jsonb_to_recordset(batch -> 'checkpoints') AS u (
                    holder text, thread_id text, ns text, id text, parent_id text, checkpoint jsonb, metadata jsonb
                )
                WHERE u.holder = ANY (held)
                ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE SET
                    checkpoint = excluded.checkpoint, metadata = excluded.metadata;
            END IF;
            IF batch ? 'earlier' THEN
                INSERT INTO {schema}.replaced_writes (
                    run_id, checkpoint_ns, checkpoint_id, task_id, idx, task_path, channel, type, blob
                )
                SELECT split_part(u.holder, '/', 1)::uuid, u.ns, u.id, u.task_id, u.idx, w.task_path, w.channel,
                    w.type, w.blob
                FROM jsonb_to_recordset(batch -> 'writes') AS u ({_WRITE})
                LEFT JOIN {langgraph}.checkpoint_writes w
                    ON w.thread_id = u.thread_id AND w.checkpoint_ns = u.ns AND w.checkpoint_id = u.id
                    AND w.task_id = u.task_id AND w.idx = u.idx
                WHERE u.holder = ANY (held)
                    AND u.holder IN (SELECT jsonb_array_elements_text(batch -> 'earlier'))
                ON CONFLICT DO NOTHING;
            END IF;
            IF batch ? 'writes' THEN
                INSERT INTO {langgraph}.checkpoint_writes (
                    thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
                )
                SELECT u.thread_id, u.ns, u.id, u.task_id, u.task_path, u.idx, u.channel, u.type, blobs[u.data]
                FROM jsonb_to_recordset(batch -> 'writes') AS u ({_WRITE})
                WHERE u.holder = ANY (held) AND NOT u.replaces
                ON CONFLICT DO NOTHING;
                INSERT INTO {langgraph}.checkpoint_writes (
                    thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
                )
                SELECT u.thread_id, u.ns, u.id, u.task_id, u.task_path, u.idx, u.channel, u.type, blobs[u.data]
                FROM jsonb_to_recordset(batch -> 'writes') AS u ({_WRITE})
                WHERE u.holder = ANY (held) AND u.replaces
                ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE SET
                    channel = excluded.channel, type = excluded.type, blob = excluded.blob;
            END IF;
            RETURN ARRAY (
                SELECT DISTINCT u.run_id || '/' || u.epoch
                FROM jsonb_to_recordset(batch -> 'runs') AS u (run_id uuid, epoch int)
                WHERE u.run_id || '/' || u.epoch <> ALL (held)
            );
        END $$
    """)


def _roll_back_run(schema: str, langgraph: str) -> None:
    # The order of locks is that of `finish_run`: the thread, then the run. Returns whether the thread has a next
    # run; null when this epoch does not have the run any more, or it has ended.
    # What people decided is undone with the run; what an API answered is not: that stays in the journal, but where
    # the run's own calls stood there is room again (`~` begins their slots), so that nothing replays them.
    op.execute(f"""
        CREATE FUNCTION {schema}.roll_back_run(run_id uuid, epoch int) RETURNS boolean LANGUAGE plpgsql AS $$
        DECLARE
            run {schema}.runs;
            of_thread text;
            has_next boolean;
        BEGIN
            PERFORM 1 FROM {schema}.threads t JOIN {schema}.runs r USING (thread_id)
            WHERE r.run_id = $1 FOR NO KEY UPDATE OF t;
            SELECT r.* INTO run FROM {schema}.runs r
            WHERE r.run_id = $1 AND r.epoch = $2 AND r.status IN ('pending', 'running') FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                RETURN NULL;
            END IF;
            of_thread := run.thread_id::text;

            DELETE FROM {langgraph}.checkpoint_writes w USING {schema}.replaced_writes u
            WHERE u.run_id = $1 AND w.thread_id = of_thread AND w.checkpoint_ns = u.checkpoint_ns
                AND w.checkpoint_id = u.checkpoint_id AND w.task_id = u.task_id AND w.idx = u.idx;
            INSERT INTO {langgraph}.checkpoint_writes (
                thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
            )
            SELECT of_thread, u.checkpoint_ns, u.checkpoint_id, u.task_id, u.task_path, u.idx, u.channel, u.type,
                u.blob
            FROM {schema}.replaced_writes u WHERE u.run_id = $1 AND u.channel IS NOT NULL;
            DELETE FROM {langgraph}.checkpoint_blobs b USING (
                SELECT c.checkpoint_ns, v.key, v.value
                FROM {langgraph}.checkpoints c, jsonb_each_text(c.checkpoint -> 'channel_versions') v
                WHERE c.thread_id = of_thread AND c.metadata ->> 'run_id' = $1::text
                EXCEPT
                SELECT c.checkpoint_ns, v.key, v.value
                FROM {langgraph}.checkpoints c, jsonb_each_text(c.checkpoint -> 'channel_versions') v
                WHERE c.thread_id = of_thread AND c.metadata ->> 'run_id' IS DISTINCT FROM $1::text
            ) gone
            WHERE b.thread_id = of_thread AND b.checkpoint_ns = gone.checkpoint_ns AND b.channel = gone.key
                AND b.version = gone.value;
            DELETE FROM {langgraph}.checkpoint_writes w USING {langgraph}.checkpoints c
            WHERE c.thread_id = of_thread AND c.metadata ->> 'run_id' = $1::text AND w.thread_id = of_thread
                AND w.checkpoint_ns = c.checkpoint_ns AND w.checkpoint_id = c.checkpoint_id;
            DELETE FROM {langgraph}.checkpoints c
            WHERE c.thread_id = of_thread AND c.metadata ->> 'run_id' = $1::text;

            UPDATE {schema}.calls c SET sealed = u.sealed FROM {schema}.kept_seals u
            WHERE u.run_id = $1 AND c.call_id = u.call_id;
            UPDATE {schema}.calls c SET slot = '~' || $1::text || c.slot, checkpoint_ns = '*'
            WHERE c.run_id = $1 AND c.slot LIKE '#%';
            UPDATE {schema}.calls c SET
                state = 'in_doubt', sealed = NULL, result = NULL, error = NULL, finished_at = NULL,
                updated_at = now()
            FROM {schema}.asks a JOIN {schema}.ask_answers w USING (ask_id)
            WHERE w.run_id = $1 AND a.state = 'applied' AND w.decision NOT IN ('send', 'retry')
                AND c.call_id = a.call_id AND c.run_id <> $1 AND c.state IN ('done', 'aborted')
                AND NOT EXISTS (
                    SELECT FROM {schema}.call_attempts t
                    WHERE t.call_id = c.call_id AND t.outcome = 'answered' AND t.status < 500
                );
            UPDATE {schema}.asks a SET state = 'open' FROM {schema}.ask_answers w
            WHERE w.run_id = $1 AND w.ask_id = a.ask_id AND a.state IN ('answered', 'applied');

            DELETE FROM {schema}.run_events e WHERE e.run_id = $1;
            DELETE FROM {schema}.runs r WHERE r.run_id = $1;
            has_next := EXISTS (
                SELECT 1 FROM {schema}.runs r
                WHERE r.thread_id = run.thread_id AND r.status IN ('pending', 'running')
            );
            UPDATE {schema}.threads t SET
                status = CASE WHEN has_next THEN 'busy' ELSE t.rest_status END, updated_at = now()
            WHERE t.thread_id = run.thread_id;
            RETURN has_next;
        END $$
    """)


def _finish_run(schema: str) -> None:
    # As in revision 0004, and besides: a run that is to be rolled back comes to no other end.
    op.execute(f"""
        CREATE OR REPLACE FUNCTION {schema}.finish_run(run_id uuid, epoch int, ending jsonb) RETURNS boolean
        LANGUAGE plpgsql AS $$
        DECLARE
            run {schema}.runs;
            has_next boolean;
        BEGIN
            PERFORM 1 FROM {schema}.threads t JOIN {schema}.runs r USING (thread_id)
            WHERE r.run_id = $1 FOR NO KEY UPDATE OF t;
            UPDATE {schema}.runs r SET
                status = ending->>'status',
                output = nullif(ending->'output', 'null'),
                error = nullif(ending->'error', 'null'),
                is_sanitised = r.is_sanitised OR (ending->>'is_sanitised')::boolean,
                cancel_action = NULL,
                finished_at = clock_timestamp(),
                updated_at = now()
            WHERE r.run_id = $1 AND r.epoch = $2 AND r.status = 'running'
                AND r.cancel_action IS DISTINCT FROM 'rollback'
            RETURNING r.* INTO run;
            IF NOT FOUND THEN
                PERFORM {schema}.roll_back_run($1, $2) FROM {schema}.runs r
                WHERE r.run_id = $1 AND r.epoch = $2 AND r.status = 'running' AND r.cancel_action = 'rollback';
                RETURN NULL;
            END IF;
            DELETE FROM {schema}.replaced_writes u WHERE u.run_id = $1;
            DELETE FROM {schema}.kept_seals u WHERE u.run_id = $1;
            has_next := EXISTS (
                SELECT 1 FROM {schema}.runs r
                WHERE r.thread_id = run.thread_id AND r.status IN ('pending', 'running')
            );
            -- A run that failed or was cancelled leaves what waited beside it as it was.
            UPDATE {schema}.asks a SET state = 'dropped'
            WHERE ending->>'status' = 'success' AND a.thread_id = run.thread_id AND a.state = 'open'
                AND NOT EXISTS (
                    SELECT 1 FROM jsonb_array_elements(ending->'asks') i WHERE i->>'interrupt_id' = a.interrupt_id
                );
            INSERT INTO {schema}.asks (
                ask_id, tenant, owner, thread_id, run_id, interrupt_id, call_id, kind, question, arguments,
                decisions, answer_schema
            )
            SELECT (i->>'ask_id')::uuid, run.tenant, run.owner, run.thread_id, run.run_id, i->>'interrupt_id',
                (i->>'call_id')::uuid, i->>'kind', i->>'question', nullif(i->'arguments', 'null'),
                i->'decisions', nullif(i->'answer_schema', 'null')
            FROM jsonb_array_elements(ending->'asks') i
            ON CONFLICT (thread_id, interrupt_id) WHERE state = 'open' DO UPDATE SET
                run_id = excluded.run_id, kind = excluded.kind, question = excluded.question,
                arguments = excluded.arguments, decisions = excluded.decisions,
                answer_schema = excluded.answer_schema, call_id = excluded.call_id;
            UPDATE {schema}.threads t SET
                status = CASE WHEN has_next THEN 'busy' ELSE ending->>'thread_status' END,
                rest_status = ending->>'thread_status',
                interrupts = CASE ending->>'status' WHEN 'success' THEN ending->'interrupts' ELSE t.interrupts END,
                error = nullif(ending->'error', 'null'),
                values = coalesce(nullif(ending->'values', 'null'), t.values),
                state_updated_at = clock_timestamp(),
                updated_at = now()
            WHERE t.thread_id = run.thread_id;
            INSERT INTO {schema}.run_events (run_id, epoch, n, n_first, event, namespace, payload)
            SELECT $1, $2, (ending->>'last_n')::int + e.ord, (ending->>'last_n')::int + e.ord,
                e.event->>0, e.event->>1, nullif(e.event->2, 'null')
            FROM jsonb_array_elements(ending->'events') WITH ORDINALITY AS e (event, ord);
            RETURN has_next;
        END $$
    """)
