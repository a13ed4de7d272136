"""Make `put_checkpoints`: what the runs of a process write to LangGraph's tables, in one round trip."""

from __future__ import annotations

from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ARGUMENTS = """
    run_ids uuid[], epochs int[], applies boolean[],
    clear_holders text[], clear_threads uuid[], clear_ns text[],
    blob_holders text[], blob_threads text[], blob_ns text[], channels text[], versions text[],
    blob_types text[], blobs bytea[],
    checkpoint_holders text[], checkpoint_threads text[], checkpoint_nss text[], checkpoint_ids text[],
    parent_ids text[], checkpoints text[], metadatas text[],
    write_holders text[], write_threads text[], write_ns text[], write_checkpoint_ids text[], task_ids text[],
    task_paths text[], idxs int[], write_channels text[], write_types text[], writes bytea[], replaces boolean[]
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, langgraph = quoted_schemas()
    # Each run under its own fence, locked in the order of their ids, against deadlocks. A run's first write sets
    # `input_applied` and has that UPDATE as its fence: sharing first and updating then deadlocks with a claim.
    # Rows name their holder (`<run id>/<epoch>`), since two executions of a run may meet in one batch. Holders
    # that are not the run's any more are left out and returned.
    op.execute(f"""
        CREATE FUNCTION {schema}.put_checkpoints({_ARGUMENTS}) RETURNS text[] LANGUAGE plpgsql AS $$
        DECLARE
            i record;
            held text[] := '{{}}';
        BEGIN
            FOR i IN
                SELECT u.run_id, u.epoch, bool_or(u.applies) AS applies
                FROM unnest(run_ids, epochs, applies) AS u (run_id, epoch, applies)
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
            UPDATE {schema}.calls c SET sealed = NULL
            FROM unnest(clear_holders, clear_threads, clear_ns) AS u (holder, thread_id, ns)
            WHERE c.thread_id = u.thread_id AND c.checkpoint_ns = u.ns AND c.sealed IS NOT NULL
                AND u.holder = ANY (held);
            INSERT INTO {langgraph}.checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
            SELECT u.thread_id, u.ns, u.channel, u.version, u.type, u.blob
            FROM unnest(blob_holders, blob_threads, blob_ns, channels, versions, blob_types, blobs)
                AS u (holder, thread_id, ns, channel, version, type, blob)
            WHERE u.holder = ANY (held)
            ON CONFLICT DO NOTHING;
            INSERT INTO {langgraph}.checkpoints (
                thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata
            )
            SELECT u.thread_id, u.ns, u.id, u.parent, u.checkpoint::jsonb, u.metadata::jsonb
            FROM unnest(
                checkpoint_holders, checkpoint_threads, checkpoint_nss, checkpoint_ids, parent_ids, checkpoints,
                metadatas
            ) AS u (holder, thread_id, ns, id, parent, checkpoint, metadata)
            WHERE u.holder = ANY (held)
            ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE SET
                checkpoint = excluded.checkpoint, metadata = excluded.metadata;
            INSERT INTO {langgraph}.checkpoint_writes AS w (
                thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
            )
            SELECT u.thread_id, u.ns, u.id, u.task_id, u.task_path, u.idx, u.channel, u.type, u.blob
            FROM unnest(
                write_holders, write_threads, write_ns, write_checkpoint_ids, task_ids, task_paths, idxs,
                write_channels, write_types, writes, replaces
            ) AS u (holder, thread_id, ns, id, task_id, task_path, idx, channel, type, blob, replaces)
            WHERE u.holder = ANY (held) AND NOT u.replaces
            ON CONFLICT DO NOTHING;
            INSERT INTO {langgraph}.checkpoint_writes AS w (
                thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
            )
            SELECT u.thread_id, u.ns, u.id, u.task_id, u.task_path, u.idx, u.channel, u.type, u.blob
            FROM unnest(
                write_holders, write_threads, write_ns, write_checkpoint_ids, task_ids, task_paths, idxs,
                write_channels, write_types, writes, replaces
            ) AS u (holder, thread_id, ns, id, task_id, task_path, idx, channel, type, blob, replaces)
            WHERE u.holder = ANY (held) AND u.replaces
            ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE SET
                channel = excluded.channel, type = excluded.type, blob = excluded.blob;
            RETURN ARRAY (
                SELECT DISTINCT u.run_id || '/' || u.epoch FROM unnest(run_ids, epochs) AS u (run_id, epoch)
                WHERE u.run_id || '/' || u.epoch <> ALL (held)
            );
        END $$
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP FUNCTION {schema}.put_checkpoints")
