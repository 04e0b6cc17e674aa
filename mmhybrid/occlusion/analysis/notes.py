"""Notes: when a number would mislead. One line each, which never changes a number.

What a weak detector, a set with empty images or a tiny one gives as a matter of course gets no note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.text import clean, plural

from ..matching import Index
from ..results import ERROR_IOU
from .errors import by_image, overlaps

if TYPE_CHECKING:
    from ..matching import Settings
    from ..protocols import Protocol
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth
    from ..selection import Selection
    from .details import Details

# Fewer than so many may be chance.
FEW = 3
# Images without detections are told if they are this share of all, or if so many in a row come about by chance in
# fewer than 1 of 100 sets.
MANY, CHANCE = 0.25, 0.01
# Scores a little beyond 0 or 1 are rounding.
SCORE_MARGIN = 1e-6
# The limit of detections matters on images with more instances than this share of it.
CROWD = 0.25
# Two models that share no more of their images than this are shards: the last are repeated to fill the ranks.
SHARED = 0.02
# Categories are doubted where AR is below this.
LOW_AR = 0.1
CORNERS = 'boxes of the results look like corners'
SAMPLED_IMAGES = 50
# What becomes of instances on images without detections.
MISSED = 'counts as missed'


def of_details(asked: Details, settings: Settings) -> Iterator[str]:
    """Notes on details that are not as asked for, or as usual, since the settings are not."""
    if asked.errors and asked.iou_thr is None and settings.at(ERROR_IOU) is None:
        yield f'errors are told at IoU {asked.at(settings).iou_thr:g}, since no detection is matched at {ERROR_IOU:g}'
    if asked.miss_rate and settings.at(ERROR_IOU) is None:
        nearest = min(settings.iou_thrs, key=lambda each: abs(each - ERROR_IOU))
        yield f'miss rates are at IoU {nearest:g}, since no detection is matched at {ERROR_IOU:g}'
    if asked.categories and settings.class_agnostic:
        yield 'there are no metrics per category, since all categories are taken for one'


def of_masks(selection: Selection, masks: str | None) -> Iterator[str]:
    """Note on strata by masks that are perhaps not those that are evaluated."""
    if selection.preset == 'amodal' and masks is None:
        yield (
            "the strata are by amodal and visible masks, but what is matched are the fields 'segmentation' and 'bbox', "
            'whichever masks they are of; --masks amodal or visible chooses'
        )


def of_detections(gt: GroundTruth, dt: Detections, index: Index, protocol: Protocol | None = None) -> Iterator[str]:
    """Notes on one model's detections, of whatever IoU type."""
    leaves_out = protocol is not None and not protocol.counts_empty_images
    if not len(dt):
        so = f'no instance counts in any stratum of {protocol.name}' if leaves_out else f'every instance {MISSED}'
        yield f'{dt.source}: there is no detection, so that {so}'
        return
    filled = np.isin(gt.image_ids, index.image_ids[index.gt_image[index.gt_counted]])
    fate = f'does not count in any stratum of {protocol.name}' if leaves_out else MISSED
    yield from images_note(filled, np.isin(gt.image_ids, dt.image_ids), fate)
    yield from scores_note(dt.scores)
    yield from limit_note(gt, dt, index)


def of_result(gt: GroundTruth, dt: Detections, index: Index, iou_type: str, ar: float) -> Iterator[str]:
    """Notes on detections that match few instances or none, given AR of all images."""
    if not ar < LOW_AR or not len(index.dt_index):  # NaN without instances
        return
    pairs = overlapping(gt, dt, index, iou_type)
    overlapped = len(np.unique(pairs[:, 0]))
    none = f'no detection matches any instance (IoU >= {index.iou_thrs[0]:g})'
    if not index.settings.class_agnostic and (note := shift_note(pairs, [row['id'] for row in gt.categories])):
        yield note
    elif iou_type == 'bbox' and (found := as_corners(gt, dt, index)) >= max(FEW, 4 * overlapped):
        yield (
            f'{CORNERS}: as x1, y1, x2, y2 they would overlap {found:,} instances, as they are {overlapped:,}; give x, '
            'y, width, height'
        )
    elif ar == 0 and overlapped:
        yield f'{none}, but those of other categories overlap {overlapped:,}; check the category ids'
    elif ar == 0:
        yield f'{none}; see whether the results are of this data set, with boxes as x, y, width, height in pixels'


def images_note(filled: np.ndarray, detected: np.ndarray, fate: str = MISSED) -> Iterator[str]:
    """Images without detections, as of an interrupted run or of one of several shards: of all images in the file's
    order ``(I,)``, which have instances (no others need detections), and which have detections; the instances' fate."""
    missed = ~detected[filled]
    number, total = np.count_nonzero(missed), len(missed)
    in_a_row = np.diff(np.flatnonzero(np.concatenate([[True], ~missed, [True]]))).max() - 1
    if number >= FEW and (number >= MANY * total or total * (number / total) ** in_a_row < CHANCE):
        kind = 'images' if filled.all() else 'images with instances'
        yield (
            f'{number:,} of {total:,} {kind} have no detection, and what is on them {fate}; see whether the results '
            'are complete'
        )


def scores_note(scores: np.ndarray) -> Iterator[str]:
    """Scores that are no probabilities."""
    beyond = np.count_nonzero((scores < -SCORE_MARGIN) | (scores > 1 + SCORE_MARGIN))
    if beyond:
        yield (
            f'scores outside of 0 to 1: {beyond:,} of {len(scores):,} ({scores.min():g} to {scores.max():g}); AP takes '
            'their order alone, but the error anatomy counts what scores at least --min-score, from 0 to 1'
        )


def limit_note(gt: GroundTruth, dt: Detections, index: Index) -> Iterator[str]:
    """Detections that the limit an image and category leaves out where there are many instances."""
    limit, size = index.settings.max_dets, len(index.image_ids)
    category, image, instances = index.cells_in(np.arange(size))
    crowds = (category * size + image)[instances > CROWD * limit]
    # The same without a limit.
    whole = Index.of(gt, dt, replace(index.settings, max_dets=len(dt))) if len(crowds) else index
    cells, found = np.unique(whole.dt_category.astype(np.int64) * size + whole.dt_image, return_counts=True)
    bound = np.isin(cells, crowds) & (found > limit)
    if bound.any():
        each = 'image' if index.settings.class_agnostic else 'image and category'
        yield (
            f'the limit of {plural(limit, "detection")} an {each} leaves out {(found[bound] - limit).sum():,} on '
            f'{len(np.unique(cells[bound] % size)):,} of {size:,} images, with up to '
            f'{plural(int(instances.max()), "instance")}; --max-dets raises it, and strata of crowds suffer most'
        )


def shards_note(seen: Mapping[str, np.ndarray], name: str, image_ids: np.ndarray) -> Iterator[str]:
    """Two models that have detections on different images: one of ``seen``, name -> ids, and this one."""
    for other, others in seen.items():
        fewer = min(len(others), len(image_ids))
        shared = len(np.intersect1d(others, image_ids))
        if fewer > 1 and shared <= SHARED * fewer:
            shares = f'only {plural(shared, "image")}' if shared else 'no image'
            yield (
                f'{clean(other)} and {clean(name)} share {shares} with '
                'detections; if they are shards of one model, --merge reads them as one'
            )
            return


def overlapping(gt: GroundTruth, dt: Detections, index: Index, iou_type: str) -> np.ndarray:
    """``(p, 3)`` int64: instances, their category, and that of a detection that overlaps it, on some of the images."""
    of_pair = overlaps(index, gt, dt, iou_type)
    both = list(by_image(index, np.arange(len(index.dt_index))))
    pairs = [np.empty((0, 3), dtype=np.int64)]
    for columns, rows in both[:: -(-len(both) // SAMPLED_IMAGES) or 1]:
        best = columns[np.argsort(-index.dt_score[columns], kind='stable')[:100]]
        of_dt, of_gt = np.nonzero(of_pair(best, rows) >= index.iou_thrs[0])
        taken = rows[of_gt]
        pairs.append(np.stack([taken, gt.category_ids[taken], dt.category_ids[index.dt_index[best[of_dt]]]], axis=1))
    return np.concatenate(pairs)


def as_corners(gt: GroundTruth, dt: Detections, index: Index) -> int:
    """How many instances would be overlapped if boxes were meant as corners."""
    sides = np.maximum(dt.boxes[:, 2:] - dt.boxes[:, :2], 0)
    meant = replace(dt, boxes=np.concatenate([dt.boxes[:, :2], sides], axis=1))
    return len(np.unique(overlapping(gt, meant, index, 'bbox')[:, 0]))


def shift_note(pairs: np.ndarray, category_ids: Sequence[int]) -> str | None:
    """Whether other category ids were meant, given ``pairs`` of :func:`overlapping` and all ids."""
    row, wanted, given = pairs.T
    index = np.searchsorted(np.sort(category_ids), wanted)
    # Of what is wanted, which ids given would mean it.
    meant = {
        'were class indices that count from 0': index,
        'were larger by 1': wanted - 1,
        'were class indices that count from 1': index + 1,
        'were smaller by 1': wanted + 1,
    }
    total, own = len(np.unique(row)), len(np.unique(row[wanted == given]))
    found = {words: len(np.unique(row[given == each])) for words, each in meant.items()}
    words = max(found, key=found.get)
    if found[words] < max(FEW, 4 * own, 0.5 * total):
        return None
    return (
        f'categories look shifted: of {total} instances that a detection overlaps, one of their category overlaps '
        f'{own}, and {found[words]} if category ids {words}; give the category ids of the ground truth'
    )
