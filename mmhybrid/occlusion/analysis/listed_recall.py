"""Recall of listed instances: Occluded COCO and Separated COCO, from any results with masks.

The rule is that of Zhan, Xie and Zisserman, A Tri-Layer Plugin to Improve Occluded Detection, BMVC 2022: a listed
instance is found if a detection of its class on its image with a score of at least 0.3 has a mask IoU with it of at
least 0.75. Nothing is assigned: one detection may find several instances, and detections that find none cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.errors import InputError

from ..read.columns import positions
from ..read.detections import load_detections
from ..read.ground_truth import load_ground_truth
from ..read.instance_lists import InstanceList, load_instance_list
from ..results import HEAD, NAN, Bootstrap, Comparison, Difference, Interval, plain
from ..strata import Stratum
from . import bootstrap
from .details import Details
from .notes import SCORE_MARGIN, images_note
from .study import ModelResults, PathOr, Progress, silent

if TYPE_CHECKING:
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

SCORE_THR, IOU_THR = 0.3, 0.75


@dataclass(frozen=True)
class ListedRecall:
    """How many instances of a list a model finds.

    Attributes:
        list: What it is called.
        model: Whose detections.
        num_images: Images with listed instances.
        num_listed: Listed instances whose image and class the ground truth has.
        num_found: Of these, those found.
        recall: ``num_found / num_listed``.
        interval: Bootstrap interval of ``recall``; NaN if none was asked for, or where all instances are on one image.
    """

    list: str
    model: str
    num_images: int
    num_listed: int
    num_found: int
    recall: float
    interval: Interval


# With the recall on each resample, ``(R,)``, none without.
Sampled = tuple[ListedRecall, np.ndarray]


@dataclass(frozen=True)
class ListedResult:
    """Recall of every model on every list.

    Attributes:
        ground_truth: The file as given.
        lists: Name, file, number of entries, and names of images and classes that the ground truth lacks, of each list.
        score_thr: Least score of a detection that finds an instance.
        iou_thr: Least mask IoU.
        recalls: List by list, model by model.
        comparisons: Each model but the first with the first, a list in place of a stratum, if they were resampled.
        bootstrap: How intervals were made; None without any.
        notes: What a reader should know before trusting the numbers, one line each.
    """

    ground_truth: str
    lists: tuple[dict[str, Any], ...]
    score_thr: float
    iou_thr: float
    recalls: tuple[ListedRecall, ...]
    comparisons: tuple[Comparison, ...] = ()
    bootstrap: Bootstrap | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with ``schema_version``."""
        return HEAD | plain(self)


def find(listed: InstanceList, dt: Detections, score_thr: float = SCORE_THR, iou_thr: float = IOU_THR) -> np.ndarray:
    """``(m,)`` bool, whether each listed instance is found; ``dt`` has masks, and ``iou_thr`` is above 0."""
    from pycocotools import mask

    images, categories = np.unique(listed.image_ids), np.unique(listed.category_ids)
    rows = np.flatnonzero(
        (dt.scores >= score_thr) & np.isin(dt.image_ids, images) & np.isin(dt.category_ids, categories)
    )

    def by_cell(image_ids: np.ndarray, category_ids: np.ndarray) -> dict[int, np.ndarray]:
        """Positions of what is of each image and category."""
        cells = np.searchsorted(images, image_ids) * len(categories) + np.searchsorted(categories, category_ids)
        order = np.argsort(cells, kind='stable')
        filled, begins = np.unique(cells[order], return_index=True)
        return dict(zip(filled.tolist(), np.split(order, begins[1:]), strict=True)) if len(order) else {}

    found = np.zeros(len(listed.masks), dtype=bool)
    detected = by_cell(dt.image_ids[rows], dt.category_ids[rows])
    for cell, members in by_cell(listed.image_ids, listed.category_ids).items():
        if cell in detected:
            theirs, own = dt.masks.take(rows[detected[cell]]), [listed.masks[i] for i in members.tolist()]
            found[members] = (mask.iou(theirs, own, [0] * len(own)) >= iou_thr).any(axis=0)
    return found


def listed_recall(
    gt: PathOr | dict[str, Any],
    models: Mapping[str, ModelResults],
    lists: Mapping[str, PathOr],
    details: Details | None = None,
    score_thr: float = SCORE_THR,
    iou_thr: float = IOU_THR,
    progress: Progress = silent,
) -> ListedResult:
    """Recall of listed instances, of one model or several.

    Args:
        gt: COCO ground truth that the lists are of, of which images and categories alone are used.
        models: Name -> results with masks; the first is the baseline of comparisons.
        lists: Name -> list (see :mod:`mmhybrid.occlusion.read.instance_lists`).
        details: Of which ``resamples``, ``seed`` and ``confidence`` count; by default no intervals.
        score_thr: Least score of a detection that finds an instance.
        iou_thr: Least mask IoU, above 0.
        progress: Called with a few words before each long step.

    Raises:
        InputError: A file, a record or an argument cannot be used.
    """
    if not 0 < iou_thr <= 1:
        raise InputError(f'the IoU threshold is {iou_thr:g}; give a number above 0 and up to 1.')
    details = details or Details()
    boot = Bootstrap(details.resamples, details.seed, details.confidence) if details.resamples else None
    progress('reading ground truth and lists')
    truth = load_ground_truth(gt, (), (), 'as-instances')
    read = {name: load_instance_list(path, truth) for name, path in lists.items()}
    notes = [note for each in read.values() for note in each.notes]
    weights = bootstrap.draw(len(truth.images), boot.resamples, boot.seed) if boot else None
    found: dict[tuple[str, str], Sampled] = {}
    for model, results in models.items():
        progress(f'{model}: reading results')
        dt = load_detections(results, truth, ('segm',))
        notes += [*dt.notes, *(f'{model}: {note}' for note in _notes(truth, read, dt, score_thr))]
        progress(f'{model}: looking for {sum(len(each.masks) for each in read.values()):,} listed instances')
        for name, each in read.items():
            hits, at = find(each, dt, score_thr, iou_thr), positions(truth.image_ids, each.image_ids)
            found[name, model] = _recall(name, model, hits, at, weights, details.confidence)
            if not hits.any():
                notes.append(
                    f'{model}: none of the {len(hits):,} instances of {name} is found; see whether scores reach '
                    f'{score_thr:g} and category ids are those of {truth.source}'
                )
    first, *others = models
    return ListedResult(
        ground_truth=truth.source,
        lists=tuple(
            {'name': name, 'file': each.source, 'num_entries': each.num_entries}
            | {'missing_images': each.missing_images, 'missing_classes': each.missing_classes}
            for name, each in read.items()
        ),
        score_thr=score_thr,
        iou_thr=iou_thr,
        recalls=tuple(found[name, model][0] for name in read for model in models),
        comparisons=tuple(
            _compare([(found[name, first], found[name, other]) for name in read], boot) for other in others if boot
        ),
        bootstrap=boot,
        notes=tuple(dict.fromkeys(notes)),
    )


def _recall(
    name: str, model: str, hits: np.ndarray, images: np.ndarray, weights: np.ndarray | None, confidence: float
) -> Sampled:
    """Of instances ``(m,)`` found or not, on ``images``, positions in a row of ``weights``."""
    count, recall, interval, samples = len(np.unique(images)), hits.mean().item(), Interval(NAN, NAN), np.empty(0)
    if weights is not None:
        samples = bootstrap.shares(hits, np.zeros(len(hits), dtype=int), 1, images, weights)
        if count == 1:  # drawn again and again, it would seem to be known exactly
            samples[:] = NAN
        bounds = np.clip(bootstrap.intervals(samples, np.array([recall]), confidence), 0, 1)
        interval, samples = Interval(*bounds[:, 0].tolist()), samples[:, 0]
    return ListedRecall(name, model, count, len(hits), int(hits.sum()), recall, interval), samples


def _compare(pairs: Sequence[tuple[Sampled, Sampled]], boot: Bootstrap) -> Comparison:
    """The second of each pair minus the first: of one list, and of the same two models."""
    differences = []
    for (a, samples_a), (b, samples_b) in pairs:
        gap, values = b.recall - a.recall, (a.recall, b.recall)
        low, high, p_value = bootstrap.paired(samples_a, samples_b, gap, boot.confidence)
        part, sizes = Stratum(a.list, NAN, NAN, 'group'), (a.num_images, a.num_listed)
        differences.append(Difference(part, *sizes, 'recall', *values, gap, Interval(low, high), p_value))
    return Comparison(a.model, b.model, 'segm', boot, tuple(differences))


def _notes(gt: GroundTruth, lists: Mapping[str, InstanceList], dt: Detections, score_thr: float) -> Iterator[str]:
    """On a model's detections: listed images without any, and scores that are no probabilities."""
    listed = np.isin(gt.image_ids, np.concatenate([each.image_ids for each in lists.values()]))
    yield from images_note(listed, np.isin(gt.image_ids, dt.image_ids))
    if len(dt) and dt.scores.max() > 1 + SCORE_MARGIN:
        yield f'scores go up to {dt.scores.max():g}; the threshold {score_thr:g} is meant for scores from 0 to 1'
