"""A small helpdesk over HTTP to try integrations against: effects are counted, misbehaviour is on request."""
