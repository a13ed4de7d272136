"""Sealing: what may not lie readable in the database, and the key that it is sealed under."""
