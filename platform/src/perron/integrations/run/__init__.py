"""The run that calls are made in: its context, node attempts and places, and what its tasks did before."""
