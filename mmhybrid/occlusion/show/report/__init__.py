"""An evaluation as one HTML page: the answer, figures, tables and pictures, without any request to elsewhere."""
