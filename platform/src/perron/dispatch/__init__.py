"""Delivery of due runs, by PgQueuer; nothing else imports it."""
