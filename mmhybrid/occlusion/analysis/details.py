"""What to work out beyond the metrics of each stratum."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from ..matching.settings import Settings, as_float
from ..results import ERROR_IOU, MIN_IMAGES, MIN_SCORE

MAX_RESAMPLES = 100_000
# Annotation of a field -> what it may be given as, in words, and what it is kept as.
KINDS = {
    'bool': ((bool, np.bool_), 'True or False', bool),
    'int': (Integral, 'an integer', int),
    'float': (Real, 'a number', as_float),
    'float | None': (Real | None, 'a number', lambda value: None if value is None else as_float(value)),
}


@dataclass(frozen=True)
class Details:
    """What to work out beyond the metrics of each stratum; everything is off by default, since it takes longer.

    Attributes:
        categories: Metrics per category, and the mean over the categories common to all filled strata; nothing where
            the settings make no difference between categories.
        instances: Recall by the instances' own occlusion.
        errors: Error anatomy.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Of the bootstrap.
        confidence: Of the intervals.
        iou_thr: Of the error anatomy, one of the thresholds that are matched at; by default the nearest to 0.5.
        min_score: Detections below it are no part of the error anatomy.
        min_images: Strata with fewer images have no say in which categories are common.

    Raises:
        InputError: A value that cannot be used.
    """

    categories: bool = False
    instances: bool = False
    errors: bool = False
    resamples: int = 0
    seed: int = 0
    confidence: float = 0.95
    iou_thr: float | None = None
    min_score: float = MIN_SCORE
    min_images: int = MIN_IMAGES

    def __post_init__(self) -> None:
        for each in fields(self):
            value, (kind, words, kept_as) = getattr(self, each.name), KINDS[each.type]
            if not isinstance(value, kind):
                raise InputError(f'{each.name} is {show(value)}; give {words}.')
            object.__setattr__(self, each.name, kept_as(value))
        if self.resamples < 0 or self.resamples == 1:
            raise InputError(f'{self.resamples} bootstrap resamples give no interval; ask for 0 or for at least 100.')
        if self.resamples > MAX_RESAMPLES:
            raise InputError(f'{self.resamples} bootstrap resamples are too many; ask for at most {MAX_RESAMPLES}.')
        if self.seed < 0:
            raise InputError(f'the bootstrap seed is {self.seed}; give 0 or a positive integer.')
        if not 0 < self.confidence < 1:
            raise InputError(f'the confidence is {self.confidence}; give a number between 0 and 1, e.g. 0.95.')
        if not 0 <= self.min_score <= 1:
            raise InputError(f'the least score is {self.min_score}; give a number from 0 to 1.')

    @property
    def any(self) -> bool:
        """Whether the matches themselves are needed."""
        return self.categories or self.instances or self.errors or self.resamples > 0

    @classmethod
    def full(cls, resamples: int = 200, **others: Any) -> Details:
        """Everything."""
        return cls(categories=True, instances=True, errors=True, resamples=resamples, **others)

    def at(self, settings: Settings) -> Details:
        """With the threshold of the error anatomy that these settings give.

        Raises:
            InputError: Errors are asked for at a threshold that is not matched at.
        """
        thresholds = settings.iou_thrs
        if self.iou_thr is None:
            return replace(self, iou_thr=min(thresholds, key=lambda each: abs(each - ERROR_IOU)))
        at = settings.at(self.iou_thr)
        if at is None and self.errors:
            known = ', '.join(f'{each:g}' for each in thresholds)
            raise InputError(
                f'errors cannot be told at IoU {self.iou_thr:g}, which is none of the thresholds {known}; give one of '
                'these as iou_thr (--error-iou), or add it to iou_thrs (--iou-thrs).'
            )
        return self if at is None else replace(self, iou_thr=thresholds[at])
