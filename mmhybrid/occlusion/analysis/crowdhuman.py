"""CrowdHuman's AP and JI on strata and resamples; its MR^-2 is that of :mod:`.miss_rate` with the reading 'crowdhuman'.

They are those of MMDetection's ``CrowdHumanMetric`` with its defaults, of boxes of whole bodies, before it rounds to
four digits; it follows the tools of CrowdDet (Chu et al., Detection in Crowded Scenes, CVPR 2020). Where it differs:

- Overlaps are float32 there, float64 here.
- Of instances with exactly equal IoU a detection takes the first there, the last here, as in COCO.
- CrowdDet's own JI is of the heaviest matching of IoU above 0.5, MMDetection's of a largest one of IoU from 0.5 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmhybrid.errors import InputError

from ..matching import Index, Matches, Settings
from ..read.columns import positions
from ..read.ground_truth import any_sizes

if TYPE_CHECKING:
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

# What to match with. An overlap must be above 0.5, while COCO's matching takes one that is equal to its threshold, and
# `Settings` takes what is closer to 0.5 for 0.5 itself.
IOU_THR = 0.5 + 2e-9
SETTINGS = Settings(iou_thrs=(IOU_THR,), max_dets=10**6)
# JI is the best of those of the detections that score above each of these.
SCORES = np.arange(10) * 0.1
NO_JI = 'there is no JI, which needs SciPy: pip install scipy'
EPS = 1e-6  # in the denominator of a Jaccard index, as there


def clipped(gt: GroundTruth, dt: Detections, sizes: np.ndarray | None = None) -> tuple[GroundTruth, Detections]:
    """The same with boxes clipped to the images, as CrowdHuman's evaluation has them.

    A box right of the image keeps the last column, one below it the last row. On images of no known size boxes stay as
    they are, which a note of the ground truth says.

    Args:
        gt: Ground truth.
        dt: Its detections, with boxes.
        sizes: ``(I, 2)`` height and width of ``gt.images`` in pixels, NaN where they are not known; by default as the
            ground truth says, which CrowdHuman's own does not, or else the results.
    """
    if sizes is None:
        sizes = any_sizes(gt.images)
        sizes = sizes if dt.sizes is None else np.where(_is_known(sizes)[:, None], sizes, dt.sizes)
    notes, unknown = gt.notes, np.count_nonzero(~_is_known(sizes))
    if unknown:
        notes += (
            f"{gt.source}: {unknown} of {len(sizes)} images have no 'width' and 'height': their boxes are not clipped "
            "to them, as CrowdHuman's own evaluation does, which changes AP, MR^-2 and JI; give them in the ground "
            "truth, or results in CrowdHuman's layout",
        )
    gt_sizes, dt_sizes = (sizes[positions(gt.image_ids, ids)] for ids in (gt.annotation_image_ids, dt.image_ids))
    return replace(gt, boxes=_clip(gt.boxes, gt_sizes), notes=notes), replace(dt, boxes=_clip(dt.boxes, dt_sizes))


def ap(matches: Matches, members: Sequence[np.ndarray], weights: np.ndarray | None = None) -> np.ndarray:
    """AP: the area below precision over recall, a point a detection, by trapezoids from the first point on.

    Copies of an image in a resample are taken detection by detection, as if scores in an image were never equal.

    Args:
        matches: Of boxes from :func:`clipped`, by :data:`SETTINGS`.
        members: S arrays of positions in ``matches.image_ids``, none twice in a stratum.
        weights: ``(R, I)`` integers, how often each image counts; None for one row of ones.

    Returns:
        ``(R, S)`` float64; NaN where no instance counts.

    Raises:
        InputError: The matches are of several categories.
    """
    _check_one_category(matches)
    weights = np.ones((1, len(matches.image_ids)), np.int64) if weights is None else weights
    values = np.full((len(weights), len(members)), np.nan)
    for s, inside in enumerate(map(matches.inside, members)):
        own = np.flatnonzero(inside[matches.dt_image] & ~matches.dt_ignored[0])
        hits, dt_image = np.flatnonzero(matches.is_true_positive[0, own]), matches.dt_image[own]
        gt_image = matches.gt_image[matches.gt_counted & inside[matches.gt_image]]
        for r, row in enumerate(weights):
            if total := row[gt_image].sum():
                times = row[dt_image[hits]]
                # Recall grows by 1 / total where a detection is right, and nowhere else: only what is before matters.
                false = np.repeat(np.cumsum(row[dt_image])[hits] - np.cumsum(times), times)
                right = np.arange(1, len(false) + 1)
                count = right + false
                heights = right / count + (right - 1) / np.maximum(count - 1, 1)
                values[r, s] = heights[count > 1].sum() / (2 * total)
    return values


class Jaccard(NamedTuple):
    """Of each of I images, and of the detections above each of T score thresholds.

    Attributes:
        ratios: ``(T, I)`` float64 in [0, 1].
        counts: ``(T, I)`` bool, whether there is a detection or an instance that counts.
    """

    ratios: np.ndarray
    counts: np.ndarray


def jaccard(gt: GroundTruth, dt: Detections, index: Index, of_set: np.ndarray | None = None) -> Jaccard:
    """The Jaccard index of each image's detections with its instances (Chu et al.).

    It is k / (m + n - k), with k pairs in a largest one-to-one matching of IoU from 0.5 on, m instances and n
    detections. What has no partner, and lies on a region by more than half of its own area, is left out of m or n. So
    it matters which of several largest matchings it is: SciPy's, of boxes in the order of their files.

    In a stratum of instances the others are regions, and what a detector misses in a crowd lies on just these. There an
    instance without a partner is left out on the data set's own regions alone.

    Args:
        gt: Ground truth from :func:`clipped`.
        dt: Detections from :func:`clipped`.
        index: Theirs, by :data:`SETTINGS`.
        of_set: ``(n,)`` bool, which of the regions of ``gt`` are the data set's own; by default all.

    Raises:
        InputError: SciPy is not installed, or the index is of several categories.
    """
    _check_one_category(index)
    try:
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import maximum_bipartite_matching
    except ImportError:
        raise InputError(f'{NO_JI}.') from None
    by_file = np.lexsort((index.dt_index, index.dt_image))
    dt_image, scores = index.dt_image[by_file], index.dt_score[by_file]
    instances, regions = (
        rows[np.argsort(index.gt_image[rows], kind='stable')]
        for rows in (np.flatnonzero(index.gt_counted), np.flatnonzero(gt.is_region & (index.gt_category >= 0)))
    )
    gt_image = index.gt_image[instances]
    left, right, dt_on_region, gt_on_region = _overlapping(
        (dt.boxes[index.dt_index[by_file]], gt.boxes[instances], gt.boxes[regions]),
        (dt_image, gt_image, index.gt_image[regions]),
        np.ones(len(regions), dtype=bool) if of_set is None else of_set[regions],
        len(index.image_ids),
    )
    shape = len(SCORES), len(index.image_ids)
    found = Jaccard(np.zeros(shape), np.zeros(shape, dtype=bool))
    for t, least in enumerate(SCORES.tolist()):
        scored = scores > least
        kept = scored[left]
        # Images have no pair in common: one matching of all is that of each.
        pairs = csr_matrix((np.ones(kept.sum()), (left[kept], right[kept])), shape=(len(scores), len(instances)))
        partners = maximum_bipartite_matching(pairs, perm_type='column')
        paired = partners >= 0
        taken = np.zeros(len(instances), dtype=bool)
        taken[partners[paired]] = True
        k, m, n = (
            np.bincount(image[rows], minlength=shape[1])
            for image, rows in (
                (dt_image, paired),
                (gt_image, taken | ~gt_on_region),
                (dt_image, paired | (scored & ~dt_on_region)),
            )
        )
        found.ratios[t] = k / (m + n - k + EPS)
        found.counts[t] = (m > 0) | (n > 0)
    return found


def ji(found: Jaccard, members: Sequence[np.ndarray], weights: np.ndarray | None = None) -> np.ndarray:
    """JI: the mean Jaccard index over the images where anything counts, at the score threshold where that is best.

    Args:
        found: Of :func:`jaccard`.
        members: S arrays of positions in ``Index.image_ids``, none twice in a stratum.
        weights: ``(R, I)`` integers, how often each image counts; None for one row of ones.

    Returns:
        ``(R, S)`` float64; NaN where nothing counts.
    """
    return np.fmax.reduce(_means(found, members, weights), axis=2)


def best_scores(found: Jaccard, members: Sequence[np.ndarray]) -> np.ndarray:
    """``(S,)`` the score thresholds of :func:`ji`, the lowest of several; NaN where nothing counts."""
    means = _means(found, members)[0]
    best = SCORES[np.argmax(np.nan_to_num(means, nan=-1), axis=1)]
    return np.where(np.isnan(means).all(axis=1), np.nan, best)


def has_scipy() -> bool:
    """Whether JI can be worked out."""
    return find_spec('scipy') is not None


def _means(found: Jaccard, members: Sequence[np.ndarray], weights: np.ndarray | None = None) -> np.ndarray:
    """``(R, S, T)`` mean Jaccard index above each score threshold."""
    weights = np.ones((1, found.ratios.shape[1]), np.int64) if weights is None else weights
    means = np.full((len(weights), len(members), len(SCORES)), np.nan)
    for s, part in enumerate(members):
        total, images = (weights[:, part] @ each[:, part].T for each in found)
        np.divide(total, images, out=means[:, s], where=images > 0)
    return means


def _check_one_category(index: Index) -> None:
    if (count := len(index.category_ids)) > 1:
        raise InputError(
            f"CrowdHuman's AP and JI are of one category, but {count} are evaluated; give the one of persons."
        )


def _is_known(sizes: np.ndarray) -> np.ndarray:
    return (sizes >= 1).all(axis=1)


def _clip(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """``(n, 4)`` boxes on images of these ``(n, 2)`` heights and widths; bit for bit as they were if inside."""
    low, high, size = boxes[:, :2], boxes[:, :2] + boxes[:, 2:], sizes[:, ::-1]
    start, end = np.minimum(np.maximum(low, 0), size - 1), np.maximum(np.minimum(high, size), 0)
    changes = _is_known(sizes) & ((start != low) | (end != high)).any(axis=1)
    return np.where(changes[:, None], np.hstack([start, end - start]), boxes)


def _overlapping(
    boxes: Sequence[np.ndarray], images: Sequence[np.ndarray], of_set: np.ndarray, num_images: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a detection and an instance with IoU from 0.5 on, as two columns of positions, and which detections and
    which instances lie on a region, these on one ``of_set``; ``boxes`` and ``images`` of detections, instances and
    regions, by image."""
    pairs, on_region = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(len(each), dtype=bool) for each in boxes[:2]]
    borders = np.transpose([np.searchsorted(each, np.arange(num_images + 1)) for each in images])
    for starts, ends in pairwise(borders.tolist()):
        detections, instances, regions = (each[i:j] for each, i, j in zip(boxes, starts, ends, strict=True))
        pairs.append(np.argwhere(_overlaps(detections, instances) >= 0.5) + starts[:2])
        own = regions[of_set[starts[2] : ends[2]]]
        for flags, i, j, pair in zip(on_region, starts, ends, ((detections, regions), (instances, own)), strict=False):
            flags[i:j] = (_overlaps(*pair, of_own_area=True) > 0.5).any(axis=1)
    left, right = np.concatenate(pairs).T
    return left, right, *on_region


def _overlaps(boxes: np.ndarray, others: np.ndarray, of_own_area: bool = False) -> np.ndarray:
    """``(n, m)`` IoU, or intersection over the area of each of the n ``boxes``, as the matching sees them."""
    from pycocotools import mask

    if not len(boxes) or not len(others):
        return np.zeros((len(boxes), len(others)))
    return mask.iou(boxes, others, [int(of_own_area)] * len(others))
