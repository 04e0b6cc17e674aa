"""Detections by descending score, and the score threshold at which an error is least, on resamples of the images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BLOCK = 2**20  # elements worked on at a time


class Ranked:
    """n detections cut below each score that a right one has: p cuts.

    Detections of equal scores are kept or left out together. Wrong ones alone make F1 no larger and LRP no smaller, so
    that the best score threshold is at one of the cuts.

    Args:
        image: ``(n,)`` their images' positions in a row of weights.
        score: ``(n,)`` descending.
        right: ``(n,)`` bool, whether each took an instance.
        lost: ``(n,)`` 1 - IoU with it.
    """

    def __init__(self, image: np.ndarray, score: np.ndarray, right: np.ndarray, lost: np.ndarray) -> None:
        self._hits = np.flatnonzero(right)
        ends = np.searchsorted(-score, -score[self._hits], side='right') - 1
        self._last = np.flatnonzero(np.diff(ends, append=len(score)))  # of the hits of equal score
        self._ends = ends[self._last]
        self._score, self._lost = score[self._ends], lost[self._hits]
        self._image = image[: self._ends[-1] + 1] if len(ends) else image[:0]

    def least(self, error: Callable[..., np.ndarray], weights: np.ndarray, gt_image: np.ndarray) -> np.ndarray:
        """Where an error is least, at the highest such score.

        Args:
            error: Of the number of instances ``(r, 1)``, detections down to each cut, right ones among them, and the
                sum of these's 1 - IoU, ``(r, p)`` each.
            weights: ``(R, I)`` integers, how often each image counts.
            gt_image: ``(g,)`` positions of the instances' images.

        Returns:
            ``(5, R)`` these four there, and the score; 0, and NaN for the score, where nothing is found.
        """
        best = np.zeros((5, len(weights)))
        best[4] = np.nan
        rows = max(1, BLOCK // max(1, len(self._image), len(gt_image)))
        for start in range(0, len(weights), rows):
            part, out = weights[start : start + rows], best[:, start : start + rows]
            out[0] = part.take(gt_image, axis=1).sum(axis=1)
            if not len(self._hits):
                continue
            weight = part.take(self._image, axis=1)
            seen = np.cumsum(weight, axis=1, dtype=np.int32).take(self._ends, axis=1)
            weight = weight.take(self._hits, axis=1)
            found, lost = (np.cumsum(each, axis=1).take(self._last, axis=1) for each in (weight, weight * self._lost))
            at = np.arange(len(part)), np.argmin(error(out[0][:, None], seen, found, lost), axis=1)
            out[1:] = np.where(found[at] > 0, [seen[at], found[at], lost[at], self._score[at[1]]], out[1:])
        return best


def f1_error(total: np.ndarray, seen: np.ndarray, found: np.ndarray, _: np.ndarray) -> np.ndarray:
    """-F1, as the error of :meth:`Ranked.least`."""
    return -ratio(2 * found, seen + total)


def lrp(total: np.ndarray, seen: np.ndarray, found: np.ndarray, lost: np.ndarray, tau: float) -> np.ndarray:
    """LRP at the IoU threshold ``tau``, likewise (Oksuz et al., TPAMI 2022)."""
    wrong = seen + total - 2 * found
    # At tau = 1 nothing is lost.
    return ratio(lost / (1 - tau if tau < 1 else 1) + wrong, wrong + found)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, NaN where ``whole`` is 0."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.divide(part, whole, out=np.full(shape, np.nan), where=whole > 0)
