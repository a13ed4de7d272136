"""`perron demo`: a durable agent on a real database, killed and brought back."""
