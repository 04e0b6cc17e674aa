"""One module for each kind of analysis: what it shows, and its own options beside those that all have."""
