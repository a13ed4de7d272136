"""Wire shapes: what goes in and out as JSON."""
