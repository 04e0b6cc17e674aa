"""Boxes of each instance, and what they come to for instances that are equally covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmhybrid.occlusion.analysis.bootstrap import MIN_DEFINED, draw

from .proposal_steps import Boxes, Reader, Steps

# Of an instance, the share that the others cover: none of it, then five equal parts, open below.
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8)
STRATA = ('0', '(0, 0.2]', '(0.2, 0.4]', '(0.4, 0.6]', '(0.6, 0.8]', '(0.8, 1]')
EVERY = 'all'
RESAMPLES = 1000
STEPS = ('proposals', 'before', 'after')
# Figure -> the column of counts that is summed, and that which it is divided by; '' for the number of instances.
MEASURES = {
    **{step: (step, '') for step in STEPS},
    'removed': ('removed', ''),
    'missed': ('missed', ''),
    'without_candidate': ('without_candidate', ''),
    'suppressed': ('suppressed', ''),
    'suppressed_by_neighbour': ('suppressed_by_neighbour', ''),
    'twice': ('twice', ''),
    'without_proposal': ('without_proposal', ''),
    **{f'ambiguous_{step}': (f'ambiguous_{step}', step) for step in STEPS},
}
# Those that are shares, from 0 to 1; the others are counts.
SHARES = frozenset(MEASURES) - {*STEPS, 'removed'}


def stratum_of(fractions: np.ndarray) -> np.ndarray:
    """Index of each fraction's stratum in :data:`STRATA`; fractions are in [0, 1]."""
    return np.searchsorted(EDGES, fractions, side='left')


def ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU (n, k) of boxes (n, 4) and (k, 4), x0 y0 x1 y1, in float64; 0 for two without area."""
    boxes, others = np.asarray(boxes, np.float64), np.asarray(others, np.float64)
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    shared = np.maximum(sides, 0).prod(axis=2)
    areas, other_areas = ((each[:, 2:] - each[:, :2]).clip(0).prod(axis=1) for each in (boxes, others))
    union = areas[:, None] + other_areas - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def owners(candidates: Boxes, instances: Boxes, iou_thr: float) -> tuple[np.ndarray, np.ndarray]:
    """Which instance each box belongs to, and how many it could.

    A box belongs to the instance that it overlaps most, of its own class if it has one, at an IoU of ``iou_thr`` or
    more; of two that it overlaps equally, to the first.

    Returns:
        (n,) index of the instance, -1 for none; (n,) number of instances, of any class, at ``iou_thr`` or more.
    """
    overlap = ious(candidates.boxes, instances.boxes)
    could = (overlap >= iou_thr).sum(axis=1)
    if not len(instances.boxes):
        return np.full(len(candidates.boxes), -1), could
    if candidates.labels is not None:
        overlap = np.where(candidates.labels[:, None] == instances.labels, overlap, 0)
    return np.where(overlap.max(axis=1) >= iou_thr, overlap.argmax(axis=1), -1), could


def suppressors(before: Boxes, after: Boxes, instance_boxes: np.ndarray, nms_thr: float) -> np.ndarray:
    """For boxes before NMS (index ``instance_boxes``), which detection removed it; -1 for none.

    It is of the same class, scores no less and overlaps by more than ``nms_thr``; of several, the one that overlaps
    most.
    """
    overlap = ious(before.boxes[instance_boxes], after.boxes)
    could = (before.labels[instance_boxes, None] == after.labels) & (overlap > nms_thr)
    could &= before.scores[instance_boxes, None] <= after.scores
    if not len(after.boxes):
        return np.full(len(instance_boxes), -1)
    return np.where(could.any(axis=1), np.where(could, overlap, -1).argmax(axis=1), -1)


def count(steps: Steps, instances: Boxes, iou_thr: float, nms_thr: float, levels: int) -> dict[str, np.ndarray]:
    """Counts of one image's boxes for each of its k instances.

    Args:
        steps: The boxes.
        instances: The instances that count, with labels.
        iou_thr: From which a box belongs to an instance.
        nms_thr: Above which NMS removes a box.
        levels: How many levels boxes can come from.

    Returns:
        (k,) int64 columns: boxes of each step (``'proposals'``, if there are any, ``'before'``, ``'after'``), of them
        ``'ambiguous_...'`` overlap another instance as well; ``'removed'`` by NMS; 1 or 0 for ``'missed'`` (nothing
        after), ``'twice'`` (two or more after), ``'suppressed'`` (some before, none after),
        ``'suppressed_by_neighbour'`` (what removed its box of the highest score belongs to another instance),
        ``'without_candidate'`` (none before) and ``'without_proposal'``. (k, levels) ``'levels_...'`` of the boxes.
    """
    k = len(instances.boxes)
    columns: dict[str, np.ndarray] = {}
    owned = {}
    for name in STEPS:
        boxes: Boxes | None = getattr(steps, name)
        if boxes is None:
            continue
        owner, could = owners(boxes, instances, iou_thr)
        owned[name] = owner
        columns[name] = np.bincount(owner[owner >= 0], minlength=k)
        columns[f'ambiguous_{name}'] = np.bincount(owner[(owner >= 0) & (could > 1)], minlength=k)
        table = np.zeros((k, levels), np.int64)
        known = (owner >= 0) & (boxes.levels >= 0) if levels else np.zeros(len(owner), bool)
        np.add.at(table, (owner[known], boxes.levels[known]), 1)
        columns[f'levels_{name}'] = table
    before, after = columns['before'], columns['after']
    suppressed = (before > 0) & (after == 0)
    by_neighbour = np.zeros(k, bool)
    for i in np.flatnonzero(suppressed):
        own = np.flatnonzero(owned['before'] == i)
        best = own[[steps.before.scores[own].argmax()]]
        (by,) = suppressors(steps.before, steps.after, best, nms_thr)
        by_neighbour[i] = by >= 0 and owned['after'][by] >= 0
    flags = {
        'missed': after == 0,
        'twice': after > 1,
        'suppressed': suppressed,
        'suppressed_by_neighbour': by_neighbour,
        'without_candidate': before == 0,
    }
    if 'proposals' in columns:
        flags['without_proposal'] = columns['proposals'] == 0
    return {**columns, 'removed': before - after, **{name: each.astype(np.int64) for name, each in flags.items()}}


@dataclass(frozen=True)
class Summary:
    """One figure of each stratum.

    Attributes:
        values: (S + 1,) of each stratum and of all instances; NaN where there is nothing to count.
        low: (S + 1,) lower end of the 95% interval; NaN where there is none.
        high: (S + 1,) upper end.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Measured:
    """What one model's boxes come to.

    Attributes:
        name: The model's.
        reader: Of its boxes.
        columns: Counts of all instances.
        summaries: Of the strata.
        levels: Step -> shares of levels of the strata, and how many instances these are of; of steps where levels are
            known.
        capped: Images whose detections may have been cut off by ``max_per_img``.
    """

    name: str
    reader: Reader
    columns: dict[str, np.ndarray]
    summaries: dict[str, Summary]
    levels: dict[str, tuple[np.ndarray, np.ndarray]]
    capped: int


def summarise(
    columns: dict[str, np.ndarray], image: np.ndarray, stratum: np.ndarray, images: int, seed: int
) -> dict[str, Summary]:
    """Means and shares of each stratum with bootstrap intervals over images, from columns of all instances.

    Instances of one image are not independent, so images are resampled, :data:`RESAMPLES` times; the interval holds the
    middle 95% of what they give. There is none where fewer than two images have such instances, and none where all
    resamples give the same, as where none or all of the instances count: an interval of no width would claim certainty.

    Args:
        columns: (n,) counts as of :func:`count`, of all images.
        image: (n,) index of the image of each instance, below ``images``.
        stratum: (n,) index of its stratum.
        images: How many there are, those without instances too.
        seed: Of the resamples, the same for every model.

    Returns:
        By the names of :data:`MEASURES`: counts an instance, shares of instances, and for ``'ambiguous_...'`` the share
        of the instances' boxes.
    """
    weights = draw(images, RESAMPLES, seed).astype(np.float64)

    def sums(values: np.ndarray) -> np.ndarray:
        table = np.zeros((images, len(STRATA) + 1))
        np.add.at(table, (image, stratum), values)
        table[:, -1] = table[:, :-1].sum(axis=1)
        return table

    found, ones = {}, np.ones(len(image))
    for name, (part, whole) in MEASURES.items():
        if part not in columns:
            continue
        top, bottom = sums(columns[part]), sums(columns[whole] if whole else ones)
        value = _ratio(top.sum(axis=0), bottom.sum(axis=0))
        drawn = _ratio(weights @ top, weights @ bottom)
        enough = np.count_nonzero(bottom, axis=0) > 1
        enough &= np.count_nonzero(~np.isnan(drawn), axis=0) >= MIN_DEFINED * RESAMPLES
        low, high = np.full((2, len(value)), np.nan)
        if enough.any():
            low[enough], high[enough] = np.nanquantile(drawn[:, enough], [0.025, 0.975], axis=0)
            same = low == high
            low[same], high[same] = np.nan, np.nan
        found[name] = Summary(value, low, high)
    return found


def level_shares(table: np.ndarray, stratum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of each level, every instance that has a box counting once.

    Args:
        table: (n, L) boxes of each instance at each level.
        stratum: (n,) index of its stratum.

    Returns:
        (S + 1, L) mean over the instances of the shares of their boxes, which add up to 1, NaN without instances; and
        (S + 1,) how many instances that are.
    """
    total = table.sum(axis=1)
    shares = table[total > 0] / total[total > 0, None]
    which = stratum[total > 0]
    rows = [shares[which == s] for s in range(len(STRATA))] + [shares]
    means = [row.mean(axis=0) if len(row) else np.full(table.shape[1], np.nan) for row in rows]
    return np.array(means), np.array([len(row) for row in rows])


def known_levels(columns: dict[str, np.ndarray], stratum: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """:func:`level_shares` of each step, but for those with boxes of which no level is known."""
    tables = {step: columns[f'levels_{step}'] for step in STEPS if step in columns}
    return {
        step: level_shares(table, stratum)
        for step, table in tables.items()
        if table.shape[1] and (table.any() or not columns[step].any())
    }


def tally(columns: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Columns of several images below one another."""
    return {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.full(bottom.shape, np.nan), where=bottom > 0)
