"""What the overlap of boxes says of occlusion as people annotated it: data, correlations, page."""
