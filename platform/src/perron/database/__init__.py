"""The database: address, connections, JSON, the embedded server, the upgrade."""
