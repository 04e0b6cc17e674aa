"""Parameters and multiply-adds of modules, of the named backbones and of a config's detector; imports no torch."""

from .backbones import Row, count_model, count_models, kept_models
from .detectors import DetectorCounts, Part, count_detector
from .modules import COUNTED, Counts, count

__all__ = [
    'COUNTED',
    'Counts',
    'DetectorCounts',
    'Part',
    'Row',
    'count',
    'count_detector',
    'count_model',
    'count_models',
    'kept_models',
]
