"""The worker process: one of the doors to the platform."""
