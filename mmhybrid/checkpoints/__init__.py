"""Checkpoints: read as data whatever they bring, checked for damage, and converted to this package's names."""
