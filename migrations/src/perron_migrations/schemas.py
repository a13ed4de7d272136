"""What a database calls the schemas, for the revisions' own SQL."""

from __future__ import annotations

from alembic import op


def quoted_schemas() -> tuple[str, str]:
    """Return what this database calls the schemas `perron` and `langgraph`, quoted."""
    quote = op.get_bind().dialect.identifier_preparer.quote
    options = op.get_context().opts
    return quote(options["schema"]), quote(options["langgraph_schema"])
