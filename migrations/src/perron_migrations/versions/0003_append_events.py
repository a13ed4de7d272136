"""Make `append_events`: a batch of a run's events in one round trip, under the run's fence."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    schema = _schema()
    # A retry after a lost answer brings the same numbers again, and only the holder of the epoch writes them.
    op.execute(f"""
        CREATE FUNCTION {schema}.append_events(
            run_id uuid, epoch int, n int, events text[], namespaces text[], payloads text[]
        ) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            SET LOCAL synchronous_commit = off;
            PERFORM {schema}.fence($1, $2);
            INSERT INTO {schema}.run_events (run_id, epoch, n, n_first, event, namespace, payload)
            SELECT $1, $2, $3 + i.ord - 1, $3 + i.ord - 1, i.event, i.namespace, i.payload::jsonb
            FROM unnest($4, $5, $6) WITH ORDINALITY AS i (event, namespace, payload, ord)
            ON CONFLICT DO NOTHING;
        END $$
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(f"DROP FUNCTION {_schema()}.append_events(uuid, int, int, text[], text[], text[])")


def _schema() -> str:
    """Return what this database calls the schema `perron`, quoted."""
    return op.get_bind().dialect.identifier_preparer.quote(op.get_context().opts["schema"])
