"""The embedded server: a real PostgreSQL in a directory, shared by all processes that open it."""

from perron.database.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
