"""What the server and those who start it assume alike."""

DEFAULT_TOKEN = "desk-demo-token"  # noqa: S105  # the demo's, no secret
