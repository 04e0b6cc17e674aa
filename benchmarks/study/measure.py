"""AP by the images' occlusion and recall by the instances' own, of one run, on the images and on resamples of them."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.occlusion import matching, ratios, strata
from mmhybrid.occlusion.analysis import accumulate, bootstrap
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

RESAMPLES = 2000
MIN_IMAGES = 2
# Of the share of an instance that others hide. The data set hides 0.85 at most, and that of few.
HIDDEN_EDGES = (0, 0.2, 0.4, 0.6, 1)


class Images:
    """The validation images in strata, and what resamples draw of them; K strata, I images, G groups of instances.

    Each resample draws from each stratum as many images as it has, as the data set is made: r is spread evenly by
    design, and the strata's sizes are no chance. The draws are the same for every run, which pairs them.

    Args:
        content: The loaded annotations, with ``visible_fraction``.
        resamples: R.
        seed: Of the draws.

    Attributes:
        strata: The K bins of r that have images.
        mean_r: ``(K,)``, of each bin's images.
        num_images, num_instances: ``(K,)``, of each bin.
        groups: The G groups of instances by their hidden share, those that are in ``MIN_IMAGES`` images.
        group_images, group_instances: ``(G,)``, images with such instances, and these.

    Raises:
        InputError: Ground truth that cannot be used, or a stratum of fewer than ``MIN_IMAGES`` images.
    """

    def __init__(self, content: Mapping[str, Any], resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.resamples, self.seed = resamples, seed
        self._gt = load_ground_truth(dict(content))
        by_id = ratios.measure(self._gt, 'covered', 'bbox').ratios
        ids = np.array(sorted(by_id))
        r = np.array([by_id[i] for i in ids.tolist()])
        inside = {bin_: np.array([bin_.contains(each) for each in r.tolist()]) for bin_ in strata.bins()}
        inside = {bin_: which for bin_, which in inside.items() if which.any()}
        if len(inside) < 3 or any(which.sum() < MIN_IMAGES for which in inside.values()):
            found = ', '.join(f'{bin_.name}: {which.sum()}' for bin_, which in inside.items())
            raise InputError(f'a slope over r needs 3 strata and {MIN_IMAGES} images in each; images found: {found}.')
        self.strata = tuple(inside)
        self.mean_r = np.array([r[which].mean() for which in inside.values()])
        self.num_images = np.array([which.sum() for which in inside.values()])
        image = np.searchsorted(ids, self._gt.annotation_image_ids)
        self.num_instances = np.array([which[image].sum() for which in inside.values()])
        self._members = [np.arange(len(ids)), *(np.flatnonzero(which) for which in inside.values())]
        # The first row is the images themselves, every one once.
        self._weights = np.ones((1 + resamples, len(ids)), dtype=np.int32)
        for k, positions in enumerate(self._members[1:]):
            self._weights[1:, positions] = bootstrap.draw(len(positions), resamples, seed + k)

        hidden = _hidden_shares(content)
        within = {part: np.array([part.contains(share) for share in hidden]) for part in strata.bins(HIDDEN_EDGES, 'h')}
        within = {part: which for part, which in within.items() if len(np.unique(image[which])) >= MIN_IMAGES}
        self.groups = tuple(within)
        self.group_images = np.array([len(np.unique(image[which])) for which in within.values()])
        self.group_instances = np.array([which.sum() for which in within.values()])
        self._image = image
        self._group = np.full(len(hidden), -1)
        for g, which in enumerate(within.values()):
            self._group[which] = g

    def measure(self, results: str | PathLike[str] | list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Evaluate one run's detections of boxes.

        Returns:
            ``'ap'`` ``(1 + R, 1 + K)``, AP of all images and of each stratum; ``'recall50'`` and ``'recall'``
            ``(1 + R, G)``, at IoU 0.5 and averaged over IoU .5:.95; of the images in row 0, of resamples in the others.

        Raises:
            InputError: Results that cannot be used.
        """
        matches = matching.match(self._gt, load_detections(results, self._gt)).matches()
        found = matches.found()
        hits = {'recall50': found[np.isclose(matches.iou_thrs, 0.5)][0], 'recall': found.mean(axis=0)}
        size = len(self.groups)
        return {
            'ap': accumulate.metrics(matches, self._members, self._weights, threads=1)['ap'],
            **{
                name: bootstrap.shares(hit, self._group, size, self._image, self._weights) for name, hit in hits.items()
            },
        }


def _hidden_shares(content: Mapping[str, Any]) -> list[float]:
    """One minus ``visible_fraction`` of each annotation; no crowd regions are among them."""
    rows = content['annotations']
    if any(row.get('iscrowd') or 'visible_fraction' not in row for row in rows):
        raise InputError('the ground truth lacks visible_fraction or has crowd regions; the study needs its own set.')
    return [1 - row['visible_fraction'] for row in rows]
