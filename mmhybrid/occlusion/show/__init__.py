"""Results as tables, figures, records and a report."""
