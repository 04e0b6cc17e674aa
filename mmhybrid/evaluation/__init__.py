"""Metrics registered in MMDetection's ``METRICS``."""

from .occlusion_coco_metric import OcclusionCocoMetric

__all__ = ['OcclusionCocoMetric']
