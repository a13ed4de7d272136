"""Make the fences: what a pipeline's first statement calls, so that nobody writes who may not any more.

PN001: the run is not running under this epoch. PN002: a run of the thread is pending or running.
PN003: the thread's newest checkpoint is another one. PN004: the thread is gone.
"""

from __future__ import annotations

from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, langgraph = quoted_schemas()
    # FOR SHARE, no less: a claim takes the row FOR NO KEY UPDATE and has to wait for a pipeline under way.
    op.execute(f"""
        CREATE FUNCTION {schema}.fence(run_id uuid, epoch int) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM 1 FROM {schema}.runs r WHERE r.run_id = $1 AND r.epoch = $2 AND r.status = 'running' FOR SHARE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'run % is not running under epoch %', $1, $2 USING ERRCODE = 'PN001';
            END IF;
        END $$
    """)
    op.execute(f"""
        CREATE FUNCTION {schema}.fence_apply(run_id uuid, epoch int) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE {schema}.runs r SET input_applied = true, updated_at = now()
            WHERE r.run_id = $1 AND r.epoch = $2 AND r.status = 'running';
            IF NOT FOUND THEN
                RAISE EXCEPTION 'run % is not running under epoch %', $1, $2 USING ERRCODE = 'PN001';
            END IF;
        END $$
    """)
    op.execute(f"""
        CREATE FUNCTION {schema}.fence_thread(thread_id uuid, checkpoint_id text) RETURNS void
        LANGUAGE plpgsql AS $$
        DECLARE
            newest text;
        BEGIN
            PERFORM 1 FROM {schema}.threads t WHERE t.thread_id = $1 FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'thread % is gone', $1 USING ERRCODE = 'PN004';
            END IF;
            PERFORM 1 FROM {schema}.runs r WHERE r.thread_id = $1 AND r.status IN ('pending', 'running');
            IF FOUND THEN
                RAISE EXCEPTION 'thread % has a run', $1 USING ERRCODE = 'PN002';
            END IF;
            SELECT max(c.checkpoint_id) INTO newest FROM {langgraph}.checkpoints c
            WHERE c.thread_id = $1::text AND c.checkpoint_ns = '';
            IF newest IS DISTINCT FROM $2 THEN
                RAISE EXCEPTION 'thread % has another newest checkpoint', $1 USING ERRCODE = 'PN003';
            END IF;
        END $$
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP FUNCTION {schema}.fence(uuid, int), {schema}.fence_apply(uuid, int)")
    op.execute(f"DROP FUNCTION {schema}.fence_thread(uuid, text)")
