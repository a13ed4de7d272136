"""What an operation talks to its API with: requests, the line that they leave by, answers."""
