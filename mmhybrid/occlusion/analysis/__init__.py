"""What follows from matches: metrics of strata, intervals, errors, recall by instance, costs."""
