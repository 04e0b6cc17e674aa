"""Files of ground truth and detections, and what users measured, as checked columns."""
