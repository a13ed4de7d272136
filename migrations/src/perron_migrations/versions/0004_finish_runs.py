"""Make `finish_run`: all that the end of a run changes, in one transaction and one round trip."""

from __future__ import annotations

from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    # The order of locks is the one of all that end or claim a run: the thread, then the run.
    # Returns whether the thread has a next run; null when this epoch does not have the run any more.
    op.execute(f"""
        CREATE FUNCTION {schema}.finish_run(run_id uuid, epoch int, ending jsonb) RETURNS boolean
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
            RETURNING r.* INTO run;
            IF NOT FOUND THEN
                RETURN NULL;
            END IF;
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


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP FUNCTION {schema}.finish_run(uuid, int, jsonb)")
