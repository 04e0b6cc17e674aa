"""Image classification, to give a backbone weights: what ``tools/pretrain.py`` and ``configs/pretrain`` are made of.

Importing this registers its parts in MMDetection's registries. MMEngine's runner, hooks and schedules do the rest, and
mmcv and MMDetection bring the transforms that are not here.
"""

from .classifier import ImageClassifier, LinearHead
from .dataset import ImageFolder
from .metric import TopKAccuracy
from .preprocessor import ClassificationPreprocessor
from .record import PretrainingHook
from .transforms import PackImageLabel, PaddedRandomCrop, RandomResizedCrop, ResizedCenterCrop

__all__ = [
    'ClassificationPreprocessor',
    'ImageClassifier',
    'ImageFolder',
    'LinearHead',
    'PackImageLabel',
    'PaddedRandomCrop',
    'PretrainingHook',
    'RandomResizedCrop',
    'ResizedCenterCrop',
    'TopKAccuracy',
]
