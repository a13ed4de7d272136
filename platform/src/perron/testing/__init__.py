"""What tests of agents, plugins and of the platform itself need."""
