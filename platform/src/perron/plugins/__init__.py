"""The plugin door: hooks, loader, agents as they are declared."""
