"""Published weights under this package's names, and which checkpoints are safe to read."""
