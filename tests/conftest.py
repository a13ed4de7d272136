"""Nothing of its own: the fixtures come from Perron's pytest plugin, `perron.testing.plugin`."""
