"""Perron's database migrations."""
