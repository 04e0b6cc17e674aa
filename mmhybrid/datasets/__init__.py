"""Synthetic data sets whose occlusion is known exactly."""
