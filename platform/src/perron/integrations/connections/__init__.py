"""Connections: which account a call uses, and how its credentials are kept."""
