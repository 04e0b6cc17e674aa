"""COCO metric that also tells how AP falls with occlusion, registered in MMDetection's ``METRICS``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mmdet.registry import METRICS
from mmengine.fileio import get_local_path
from mmengine.logging import MMLogger

from mmhybrid import _stack
from mmhybrid.errors import InputError
from mmhybrid.occlusion import OcclusionResult, Selection, Settings, format_table
from mmhybrid.occlusion.analysis.study import Study
from mmhybrid.occlusion.read.detections import Detections, load_detections

with _stack.quiet():
    from mmdet.evaluation import CocoMetric

# MMDetection's names of COCO's metrics: of each stratum, and of all images by default and if asked for.
SCALARS = {'mAP': 'ap', 'mAP_50': 'ap50', 'mAP_75': 'ap75', 'AR': 'ar'}
PLAIN = {'mAP': 'ap', 'mAP_50': 'ap50', 'mAP_75': 'ap75', 'mAP_s': 'aps', 'mAP_m': 'apm', 'mAP_l': 'apl'}
# CocoMetric takes AP at the first of these limits and the rest at the last; they are one where none binds.
LIMITS = (100, 300, 1000)
RECALLS = {f'AR@{limit}': 'ar' for limit in LIMITS}


@METRICS.register_module()
class OcclusionCocoMetric(CocoMetric):
    """``CocoMetric`` and, for each threshold t, COCO's metrics on the images with an occlusion ratio r >= t.

    The scalars are named ``bbox_mAP_occ_0.4``, ``bbox_mAP_50_occ_0.4``, ``bbox_mAP_75_occ_0.4`` and ``bbox_AR_occ_0.4``
    (t = 0.4) and, with MMDetection's prefix, ``coco/bbox_mAP_occ_0.4``; a stratum without ground truth has none, and
    groups of images that the user labelled, and strata of instances (``parts``, or the preset ``amodal``), have their
    name in place of the threshold (numbers of the user's own need ``thresholds``). The whole table, with the disjoint
    bins and the numbers of images, goes to the log, and each kind of note once. Strata of images are by the instances
    of all classes, as ``--categories`` of the commands has it, also where the data set has some of the classes only;
    instances marked ``ignore`` are no part of r and count on no stratum.

    Detections are matched once, by hotcoco where it is installed, by pycocotools elsewhere; the numbers are equal.
    ``CocoMetric`` itself evaluates what that one evaluation does not give: proposals, values by class, other limits of
    detections than ``proposal_nums`` has by default or detections beyond the least of them, a threshold given twice,
    and ground truth with ``ignore``, which it takes as any other instance.

    Args:
        ann_file: As in ``CocoMetric``.
        occlusion: Arguments of :class:`mmhybrid.occlusion.Selection`, e.g. ``dict(geometry='segm')`` or
            ``dict(thresholds=[0.2, 0.5])``; by default ``covered`` on boxes in steps of 0.1. Not a benchmark's preset,
            whose metrics are others.
        **kwargs: Of ``CocoMetric``.

    Raises:
        InputError: If the annotation file cannot be evaluated by occlusion; the sentence names the record. Or a preset
            is a benchmark's.
    """

    def __init__(self, ann_file: str | None = None, occlusion: dict | None = None, **kwargs):
        super().__init__(ann_file=ann_file, **kwargs)
        self._selection = Selection(**(occlusion or {}))
        if self._selection.protocol is not None:
            raise InputError(
                f"the preset {self._selection.preset} is a benchmark's, which is evaluated from saved results: "
                f'mmhybrid occlusion eval --preset {self._selection.preset}; leave it out of occlusion=dict(...).'
            )
        self._iou_types = tuple(name for name in self.metrics if name in ('bbox', 'segm'))
        self._study: Study | None = None
        self._told: set[str] = set()
        if ann_file is not None and self._iou_types and not self.format_only:
            # Now rather than after the first epoch, and before pycocotools, evaluating, overwrites `ignore`.
            with get_local_path(ann_file, backend_args=self.backend_args) as local_path:
                self._open(local_path)

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict:
        """Write the detections as JSON if they are asked for or ``CocoMetric`` evaluates them."""
        return super().results2json(results, outfile_prefix) if self.metrics or self.outfile_prefix else {}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute COCO's metrics and those of each stratum from the results of all images."""
        found: dict[str, float] = {}
        wanted, self.metrics = self.metrics, []
        try:
            super().compute_metrics(results)  # reads classes and images, and writes what is to be written
            if self.format_only:
                return found
            self._choose_classes()
            for name in wanted:
                values, whole = self._by_occlusion(results, name) if name in self._iou_types else ({}, None)
                if whole is None:
                    self.metrics = [name]
                    values = super().compute_metrics(results) | values
                    if not values:  # CocoMetric has said that there is no detection at all, and ends there too
                        break
                found |= whole or {}
                found |= values
        finally:
            self.metrics = wanted
        return found

    def _by_occlusion(self, results: list, iou_type: str) -> tuple[dict[str, float], dict[str, float] | None]:
        """What strata give, and what ``CocoMetric`` would, or None where the evaluation does not tell."""
        logger = MMLogger.get_current_instance()
        predictions = [prediction for _, prediction in results]
        if self._study is None or (iou_type == 'segm' and 'masks' not in predictions[0]):
            return {}, None
        if not any(len(each['scores']) for each in predictions):
            return {}, None
        try:
            dt = load_detections(list(_rows(predictions, iou_type, self.cat_ids)), self._study.gt, (iou_type,))
            (evaluated,) = self._study.evaluate(dt, self.prefix or 'results', (iou_type,))
        except InputError as error:  # a diverged model's boxes must not end its training
            logger.error(f'No {iou_type} AP by occlusion: {error}')
            return {}, None
        result = evaluated.result
        for note in result.notes:
            kind = re.sub(r'[\d.,]+', '', note)  # whose numbers change from epoch to epoch
            if kind not in self._told:
                self._told.add(kind)
                logger.warning(f'note: {note}.')
        logger.info(f'{iou_type} AP by occlusion\n{format_table([result])}')
        return _scalars(result), self._plain(result, dt, logger)

    def _open(self, gt: str | dict[str, Any]) -> None:
        self._study = Study(gt, self._iou_types, self._selection, Settings(self.iou_thrs))

    def _choose_classes(self) -> None:
        """Tell the study, which is made now if the data set has made the ground truth, which classes to evaluate."""
        if not self._iou_types:
            return
        try:
            if self._study is None:
                self._open(self._coco_api.dataset)
            some = set(self.cat_ids) != {row['id'] for row in self._study.gt.categories}
            self._study.settings = replace(self._study.settings, categories=self.cat_ids if some else None)
        except InputError as error:  # of ground truth that the data set made, or without any of these classes
            self._study = None
            MMLogger.get_current_instance().error(f'No AP by occlusion: {error}')

    def _plain(self, result: OcclusionResult, dt: Detections, logger: MMLogger) -> dict[str, float] | None:
        """What ``CocoMetric`` would give, or None where a result has no such number or another."""
        fields = PLAIN | RECALLS
        items = list(PLAIN) if self.metric_items is None else self.metric_items
        gt = self._study.gt
        if (
            self.classwise
            or tuple(np.sort(np.ravel(self.iou_thrs))) != self._study.settings.iou_thrs
            or tuple(self.proposal_nums) != LIMITS
            or not set(items) <= set(fields)
            or (gt.is_region & ~gt.is_crowd).any()
            or _most_of_a_class(dt) > LIMITS[0]
        ):
            return None
        # As it rounds, which for some numbers differs from Python's own rounding.
        values = {name: np.float64(getattr(result.all, field)) for name, field in fields.items()}
        values = {name: -1.0 if np.isnan(value) else float(round(value, 3)) for name, value in values.items()}
        logger.info(f'{result.iou_type}_mAP_copypaste: ' + ' '.join(f'{values[name]:.3f}' for name in PLAIN))
        return {f'{result.iou_type}_{item}': values[item] for item in items}


def _rows(predictions: Sequence[dict], iou_type: str, category_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Predictions as COCO results, with what matching by the IoU type reads."""
    for index, prediction in enumerate(predictions):
        image_id = prediction.get('img_id', index)
        labels, scores = prediction['labels'].tolist(), prediction['scores']
        if iou_type == 'bbox':
            boxes = prediction['bboxes'].astype(np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            name, shapes = 'bbox', boxes.tolist()
        else:
            name, shapes, scores = 'segmentation', prediction['masks'], prediction.get('mask_scores', scores)
        for label, score, shape in zip(labels, scores.tolist(), shapes, strict=True):
            yield {'image_id': image_id, 'category_id': category_ids[label], 'score': score, name: shape}


def _most_of_a_class(dt: Detections) -> int:
    """The most detections of one class that an image has."""
    if not len(dt) or np.unique(dt.image_ids, return_counts=True)[1].max() <= LIMITS[0]:
        return min(len(dt), LIMITS[0])
    return int(np.unique(np.stack([dt.image_ids, dt.category_ids]), axis=1, return_counts=True)[1].max())


def _scalars(result: OcclusionResult) -> dict[str, float]:
    own = result.measure.definition == 'user'  # r >= 0 is all images, a temperature >= 0 is not
    parts = {f'{part.stratum.lower:g}': part for part in result.cumulative if own or part.stratum.lower > 0}
    parts |= {part.stratum.name: part for part in (*result.groups, *result.of_kind('instances'))}
    return {
        f'{result.iou_type}_{name}_occ_{label}': round(getattr(part, field), 3)
        for label, part in parts.items()
        if part.num_instances
        for name, field in SCALARS.items()
    }
