"""Make `append_events`: what the runs of a process have to say, in one round trip, each under its fence."""

from __future__ import annotations

from alembic import op

from perron_migrations.schemas import quoted_schemas

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    # The runs of one process in one statement: locked in the order of their ids, against deadlocks. Holders
    # (`<run id>/<epoch>`) that are not the run's any more are left out and returned. A retry after a lost answer
    # brings the same numbers again, and only the holder of an epoch writes them.
    op.execute(f"""
        CREATE FUNCTION {schema}.append_events(
            run_ids uuid[], epochs int[], ns int[], events text[], namespaces text[], payloads text[]
        ) RETURNS text[] LANGUAGE plpgsql AS $$
        DECLARE
            held text[];
        BEGIN
            SET LOCAL synchronous_commit = off;
            SELECT array_agg(l.holder) INTO held FROM (
                SELECT r.run_id || '/' || r.epoch AS holder FROM {schema}.runs r
                WHERE (r.run_id, r.epoch) IN (SELECT * FROM unnest(run_ids, epochs)) AND r.status = 'running'
                ORDER BY r.run_id FOR SHARE
            ) l;
            INSERT INTO {schema}.run_events (run_id, epoch, n, n_first, event, namespace, payload)
            SELECT i.run_id, i.epoch, i.n, i.n, i.event, i.namespace, i.payload::jsonb
            FROM unnest(run_ids, epochs, ns, events, namespaces, payloads)
                AS i (run_id, epoch, n, event, namespace, payload)
            WHERE i.run_id || '/' || i.epoch = ANY (held)
            ON CONFLICT DO NOTHING;
            RETURN ARRAY (
                SELECT DISTINCT u.run_id || '/' || u.epoch FROM unnest(run_ids, epochs) AS u (run_id, epoch)
                WHERE held IS NULL OR u.run_id || '/' || u.epoch <> ALL (held)
            );
        END $$
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema, _ = quoted_schemas()
    op.execute(f"DROP FUNCTION {schema}.append_events(uuid[], int[], int[], text[], text[], text[])")
