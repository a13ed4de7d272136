"""Make `claim_run`: the step by which one worker may execute a run, in one round trip."""

from __future__ import annotations

from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, langgraph = quoted_schemas()
    # Locks the thread, then its head, as whoever ends a run does. No row is returned for a run that is not to be
    # had; SQLSTATE 55P03 where somebody holds a row for longer than a living process would.
    # The worker that a run is taken from is deleted here, so that it cannot come back: its next beat finds no
    # row. It is left alone when it beats after all, be it while this waits for its row.
    # A step that has ended since the last claim starts the attempts anew. A graph's first two checkpoints are no
    # steps: they are made before any node, of its input and of `START`.
    op.execute(f"""
        CREATE FUNCTION {schema}.claim_run(
            of_thread uuid, wanted uuid, taker uuid, taken_at timestamptz, rescues boolean
        )
        RETURNS TABLE (is_takeover boolean, claimed {schema}.runs)
        LANGUAGE plpgsql SET lock_timeout = '500ms' AS $$
        BEGIN
            PERFORM FROM {schema}.threads t WHERE t.thread_id = of_thread FOR NO KEY UPDATE;
            SELECT * INTO claimed FROM {schema}.runs r
            WHERE r.thread_id = of_thread AND r.status IN ('pending', 'running')
            ORDER BY r.seq LIMIT 1 FOR NO KEY UPDATE;
            IF claimed.run_id IS DISTINCT FROM wanted OR EXISTS (
                SELECT FROM {schema}.pauses p WHERE p.tenant = claimed.tenant AND (
                    p.kind = 'all' OR p.kind = 'agent' AND p.name = claimed.graph_id
                    OR p.pause_id = claimed.parked_by
                )
            ) THEN
                RETURN;
            END IF;
            is_takeover := claimed.status = 'running';
            IF is_takeover THEN
                IF claimed.worker_id = taker OR NOT rescues THEN
                    RETURN;
                END IF;
                DELETE FROM {schema}.workers w WHERE w.worker_id = claimed.worker_id
                    AND w.beat_at <= clock_timestamp() - make_interval(secs => w.lease_s);
                IF EXISTS (SELECT FROM {schema}.workers w WHERE w.worker_id = claimed.worker_id) THEN
                    RETURN;
                END IF;
            ELSIF claimed.not_before > clock_timestamp() THEN
                RETURN;
            END IF;
            UPDATE {schema}.runs r SET
                status = 'running',
                epoch = r.epoch + 1,
                attempt = 1 + CASE WHEN EXISTS (
                    SELECT FROM {langgraph}.checkpoints c
                    WHERE c.thread_id = of_thread::text
                        AND c.checkpoint_id > coalesce(r.claimed_checkpoint_id, '')
                        AND c.metadata ->> 'source' = 'loop' AND NOT EXISTS (
                            SELECT FROM {langgraph}.checkpoints p
                            WHERE p.thread_id = c.thread_id AND p.checkpoint_ns = c.checkpoint_ns
                                AND p.checkpoint_id = c.parent_checkpoint_id AND p.metadata ->> 'source' = 'input'
                        )
                ) THEN 0 ELSE r.attempt END,
                claimed_checkpoint_id = (
                    SELECT max(c.checkpoint_id) FROM {langgraph}.checkpoints c WHERE c.thread_id = of_thread::text
                ),
                worker_id = taker,
                parked_by = NULL,
                started_at = coalesce(r.started_at, greatest(taken_at, r.not_before)),
                updated_at = now()
            WHERE r.run_id = wanted
            RETURNING r.* INTO claimed;
            UPDATE {schema}.threads t SET status = 'busy', updated_at = now()
            WHERE t.thread_id = of_thread AND t.status <> 'busy';
            RETURN NEXT;
        END $$
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP FUNCTION {schema}.claim_run(uuid, uuid, uuid, timestamptz, boolean)")
