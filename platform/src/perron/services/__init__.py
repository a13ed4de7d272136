"""Rules and transactions."""
