"""What to work out beyond the metrics of each stratum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mmhybrid.errors import InputError

from ..matching.settings import Settings, keep_plain
from ..results import ERROR_IOU, MIN_IMAGES, MIN_SCORE

MAX_RESAMPLES = 100_000


@dataclass(frozen=True)
class Details:
    """What to work out beyond the metrics of each stratum; everything is off by default, since it takes longer.

    Attributes:
        categories: Metrics per category, and the mean over the categories common to all filled strata; nothing where
            the settings make no difference between categories.
        instances: Recall by the instances' own occlusion.
        errors: Error anatomy.
        quality: Precision-recall curve, best F1, calibration, oLRP and confusions at one IoU threshold.
        miss_rate: Log-average miss rate, which the presets of benchmarks of pedestrians work out in any case.
        resamples: Bootstrap resamples of the intervals, with ``seed`` and ``confidence``; 0 for none.
        iou_thr: Of errors and quality, one of the thresholds that are matched at; by default the nearest to 0.5.
        min_score: Detections below it are no part of errors and confusions.
        min_images: Strata with fewer images have no say in which categories are common.

    Raises:
        InputError: A value that cannot be used.
    """

    categories: bool = False
    instances: bool = False
    errors: bool = False
    quality: bool = False
    miss_rate: bool = False
    resamples: int = 0
    seed: int = 0
    confidence: float = 0.95
    iou_thr: float | None = None
    min_score: float = MIN_SCORE
    min_images: int = MIN_IMAGES

    def __post_init__(self) -> None:
        keep_plain(self)
        drawn = self.resamples
        for what, value, fits, words in (
            ('number of bootstrap resamples', drawn, drawn != 1 and 0 <= drawn <= MAX_RESAMPLES, '0 or 100 to 100000'),
            ('bootstrap seed', self.seed, self.seed >= 0, '0 or a positive integer'),
            ('confidence', self.confidence, 0 < self.confidence < 1, 'a number between 0 and 1, e.g. 0.95'),
            ('least score', self.min_score, 0 <= self.min_score <= 1, 'a number from 0 to 1'),
        ):
            if not fits:
                raise InputError(f'the {what} is {value}; give {words}.')

    @property
    def any(self) -> bool:
        """Whether the matches themselves are needed."""
        asked = self.categories, self.instances, self.errors, self.quality, self.miss_rate, self.resamples > 0
        return any(asked)

    @classmethod
    def full(cls, resamples: int = 200, **others: Any) -> Details:
        """Everything."""
        return cls(categories=True, instances=True, errors=True, quality=True, resamples=resamples, **others)

    def at(self, settings: Settings) -> Details:
        """With the threshold of errors and quality that these settings give.

        Raises:
            InputError: One of these is asked for at a threshold that is not matched at.
        """
        thresholds = settings.iou_thrs
        if self.iou_thr is None:
            return replace(self, iou_thr=min(thresholds, key=lambda each: abs(each - ERROR_IOU)))
        at = settings.at(self.iou_thr)
        if at is not None:
            return replace(self, iou_thr=thresholds[at])
        if self.errors or self.quality:
            known = ', '.join(f'{each:g}' for each in thresholds)
            what = 'errors' if self.errors else 'quality'
            raise InputError(
                f'{what} cannot be told at IoU {self.iou_thr:g}, which is none of the thresholds {known}; give one of '
                'these as iou_thr (--error-iou), or add it to iou_thrs (--iou-thrs).'
            )
        return self
