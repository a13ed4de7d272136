"""Where LangGraph lives: graphs, checkpointer, executor, events."""
