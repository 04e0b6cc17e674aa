"""How occluded is an image? Overlap ratios on boxes and masks.

Let ``B_i`` be the instances of one image that count, i.e. neither crowd nor ignored, and ``|.|`` area. The TBC article
defines an image's occlusion ratio as total overlap area over total instance area, without saying which overlaps or
of what. Definitions (n instances):

=============  ==========================================================  ==============  =====================
name           r                                                           range           two that half overlap
=============  ==========================================================  ==============  =====================
``covered``    ``sum_i |B_i n union_{j != i} B_j| / sum_i |B_i|``          0 to 1          1/2
``multi``      ``|points in two or more instances| / |union_i B_i|``       0 to 1          1/3
``pairwise``   ``sum_{i < j} |B_i n B_j| / sum_i |B_i|``                   0 to (n-1)/2    1/4
``invisible``  ``sum_i |A_i \\ V_i| / sum_i |A_i|``                         0 to 1
``max-iou``    ``max_{i < j} |B_i n B_j| / |B_i u B_j|``                   0 to 1          1/3
=============  ==========================================================  ==============  =====================

``invisible`` compares each instance's whole (amodal) mask ``A_i`` with its visible mask ``V_i``; the others measure how
instances overlap one another. Two identical instances give 1, 1, 1/2 and (``max-iou``) 1. An image with one instance or
none, and one whose instances have no area, gives 0.

Geometries: ``bbox`` is exact in float64 (no rasterising); ``segm`` and ``amodal`` count pixels on run-length encodings
(no decoding to images). COCO's own masks hold what is visible of an instance, but a bowl's or a table's often also what
lies in or on it: their overlap is small and mostly says what holds what, so that on COCO boxes are the ones to measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.errors import InputError

from ..read.columns import positions
from ..read.ground_truth import GEOMETRIES
from ..read.polygons import rasterise
from . import boxes
from . import masks as rle
from .boxes import covered_fractions, covered_ratio, max_iou, multi_ratio, pairwise_ratio  # noqa: F401 offered here

if TYPE_CHECKING:
    from ..read.ground_truth import GroundTruth

DEFINITIONS = ('covered', 'multi', 'pairwise', 'invisible', 'max-iou')


@dataclass(frozen=True)
class Occlusion:
    """Occlusion of every image and instance of a data set.

    Attributes:
        ratios: Image id -> r, in the order of the file's images.
        fractions: ``(n,)`` float64, one an annotation in the file's order: the share of the instance that other
            instances of its image cover, whatever the ``definition``, but for ``invisible`` the share of its amodal
            mask that is not visible. In ``[0, 1]``; 0 without area; NaN where the annotation does not count.
    """

    ratios: dict[int, float]
    fractions: np.ndarray


def measure(gt: GroundTruth, definition: str = 'covered', geometry: str = 'bbox') -> Occlusion:
    """Measure the occlusion of every image and instance.

    Annotations with ``iscrowd`` or ``ignore`` set do not count, and cover nothing: a crowd region lies over instances
    without being one.

    Args:
        gt: Checked ground truth, with the masks that ``geometry`` needs.
        definition: One of ``DEFINITIONS``.
        geometry: What overlaps: ``'bbox'``, ``'segm'`` (the field ``segmentation``), or ``'amodal'`` (whole masks,
            hidden parts included); ``invisible`` needs ``'amodal'``.

    Raises:
        InputError: An unknown name, two names that do not go together, or masks that the ground truth does not have.
    """
    for what, name, known in ('definition', definition, DEFINITIONS), ('geometry', geometry, GEOMETRIES):
        if name not in known:
            raise InputError(f'unknown {what} {name!r} of the occlusion ratio; choose from {", ".join(known)}.')
    if definition == 'invisible' and geometry != 'amodal':
        raise InputError(
            f"the definition 'invisible' compares amodal with visible masks, which the geometry {geometry!r} does not "
            "have; choose the geometry 'amodal' or another definition."
        )
    counted = np.flatnonzero(~gt.is_region)
    image = positions(gt.image_ids, gt.annotation_image_ids[counted])
    order = np.argsort(image, kind='stable')
    rows, image = counted[order], image[order]
    counts = np.bincount(image, minlength=len(gt.image_ids))

    if geometry == 'bbox':
        ratios, own = boxes.measure(gt.boxes[rows], counts, definition)
    elif definition == 'invisible':
        amodal, sizes = _masks(gt, 'amodal', rows, image)
        ratios, own = rle.invisible(amodal, _masks(gt, 'visible', rows, image)[0], sizes, counts)
    else:
        ratios, own = rle.measure(*_masks(gt, geometry, rows, image), counts, definition)
    fractions = np.full(len(gt.annotation_ids), np.nan)
    fractions[rows] = own
    return Occlusion(dict(zip(gt.image_ids.tolist(), ratios.tolist(), strict=True)), fractions)


def _masks(gt: GroundTruth, kind: str, rows: np.ndarray, image: np.ndarray) -> tuple[list, np.ndarray]:
    """Masks of ``rows`` in compressed run-length encoding, and ``(len(rows), 2)`` height and width of their images."""
    field = {'segm': 'segmentations', 'amodal': 'amodal_segmentations', 'visible': 'visible_segmentations'}[kind]
    segmentations = getattr(gt, field)
    if segmentations is None or gt.sizes is None:
        word = {'segm': ''}.get(kind, f'{kind} ')
        raise InputError(
            f'{gt.source}: the occlusion ratio asked for needs {word}masks, which the ground truth does not have or '
            "was read without; give every instance such a mask or measure the overlap of boxes (geometry 'bbox')."
        )
    sizes = gt.sizes[image]
    return rasterise([segmentations[row] for row in rows.tolist()], sizes), sizes
