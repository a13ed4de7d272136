"""The journal: calls that are recorded before they leave, and found again."""
