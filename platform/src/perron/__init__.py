"""Perron: a self-hosted platform for LangGraph agents."""
