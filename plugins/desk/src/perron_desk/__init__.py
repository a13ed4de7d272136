"""Perron integration for a helpdesk API."""
