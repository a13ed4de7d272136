"""Integrations: declared operations and effects, and the journal that keeps their calls."""
