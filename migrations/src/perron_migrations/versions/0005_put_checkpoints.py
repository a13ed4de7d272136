"""Make `put_checkpoints`: what the runs of a process write to LangGraph's tables, in one round trip."""

from __future__ import annotations

from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WRITE = """
    holder text, thread_id text, ns text, id text, task_id text, task_path text, idx int, channel text, type text,
    data int, replaces boolean
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, langgraph = quoted_schemas()
    # Each run under its own fence, locked in the order of their ids, against deadlocks. A run's first write sets
    # `input_applied` and has that UPDATE as its fence: sharing first and updating then deadlocks with a claim.
    # Rows name their holder (`<run id>/<epoch>`), since two executions of a run may meet in one batch. Holders
    # that are not the run's any more are left out and returned. `data` of a row is its place in `blobs`, from 1.
    op.execute(f"""
        CREATE FUNCTION {schema}.put_checkpoints(batch jsonb, blobs bytea[]) RETURNS text[] LANGUAGE plpgsql AS $$
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


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP FUNCTION {schema}.put_checkpoints")
