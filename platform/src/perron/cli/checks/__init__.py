"""What `perron doctor` looks at, a file per place."""
