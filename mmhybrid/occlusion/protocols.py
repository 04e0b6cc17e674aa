"""Evaluation protocols of benchmarks of pedestrians, as data: which instances, which margins, how curves are read.

The numbers are those of the benchmarks' scripts, quirks included, which notes tell where they change a number (see
:mod:`mmhybrid.occlusion.analysis.quirks`). Two of a script's are faults that are not repeated here, since they hang on
how files are written:

- KAIST's takes IoUs of other detections where a results file does not list an image's by descending score.
- Those of CityPersons and KAIST take what matched an annotation with the id 0 for a false positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .instance_strata import InstanceStratum, Range

# From 0.01 to 1, evenly spaced by their logarithm; most scripts round them to four digits.
FPPI = tuple(10 ** (i / 4 - 2) for i in range(9))
ROUNDED = tuple(round(each, 4) for each in FPPI)


@dataclass(frozen=True)
class Protocol:
    """What a benchmark's own script does beside COCO's matching at IoU 0.5.

    Attributes:
        name: Of the preset.
        script: Where the numbers can be compared with.
        strata: Its strata of instances.
        category: The id of the one category that it evaluates.
        max_dets: Detections an image, those with the highest scores; where there are margins, before these.
        height_margin: Detections that are lower than a stratum's lowest height over this, or at least as high as its
            highest times this, are left out; None for no such rule.
        border: x1, y1, x2, y2 in pixels that instances must be within, or they are ignored; None for no such rule.
        size: Height and width of its images, where there is a border.
        aspect_ratio: Width over height that boxes are brought to, around their centre; None to leave them.
        reading: How miss rates are read off a curve, one of ``miss_rate.READINGS``.
        fppi: Where they are read, ascending.
        counts_empty_images: Whether instances on images without any detection count.
        is_crowdhuman: Whether AP is CrowdHuman's, beside which there is JI, of boxes clipped to their images (see
            :mod:`mmhybrid.occlusion.analysis.crowdhuman`).
    """

    name: str
    script: str
    strata: tuple[InstanceStratum, ...]
    category: int = 1
    max_dets: int = 1000
    height_margin: float | None = None
    border: tuple[float, float, float, float] | None = None
    size: tuple[int, int] | None = None
    aspect_ratio: float | None = None
    reading: str = 'caltech'
    fppi: tuple[float, ...] = ROUNDED
    counts_empty_images: bool = True
    is_crowdhuman: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Attributes of instances that the strata are made by."""
        return tuple(dict.fromkeys(each.attribute for stratum in self.strata for each in stratum.ranges))


def _stratum(name: str, heights: tuple[Any, ...], prefixes: tuple[str, ...] = (), **others: tuple[Any, ...]):
    ranges = (Range(key, *bounds) for key, bounds in {'height': heights, **others}.items())
    return InstanceStratum(name, ranges=tuple(ranges), prefixes=prefixes)


# Zhang et al., CityPersons, CVPR 2017; `bare`, `partial` and `heavy` after Wang et al., Repulsion Loss, CVPR 2018, and
# Zhang et al., Occlusion-aware R-CNN, ECCV 2018. The script's own third setup ends at v = 0.2.
CITYPERSONS = Protocol(
    'citypersons',
    'eval_MR_multisetup.py of CityPersons',
    (
        _stratum('reasonable', (50,), visibility=(0.65,)),
        _stratum('bare', (50,), visibility=(0.9,)),
        _stratum('partial', (50,), visibility=(0.65, 0.9)),
        _stratum('heavy', (50,), visibility=(0, 0.65)),
        _stratum('heavy, v >= 0.2', (50,), visibility=(0.2, 0.65)),
        _stratum('small', (50, 75), visibility=(0.65,)),
        _stratum('all', (20,), visibility=(0.2,)),
    ),
    height_margin=1.25,
    reading='script',
)

DAY, NIGHT = ('set06', 'set07', 'set08'), ('set09', 'set10', 'set11')
# Hwang et al., Multispectral Pedestrian Detection, CVPR 2015. Levels: 0 none, 1 partial, 2 heavy.
KAIST = Protocol(
    'kaist',
    'evaluation_script.py of MLPD, after the KAIST devkit',
    (
        _stratum('reasonable', (55,), level=(0, 1)),
        _stratum('reasonable, day', (55,), DAY, level=(0, 1)),
        _stratum('reasonable, night', (55,), NIGHT, level=(0, 1)),
        _stratum('near', (115,), level=(0, 0)),
        _stratum('medium', (45, 115), level=(0, 0)),
        _stratum('far', (1, 45), level=(0, 0)),
        _stratum('no occlusion', (1,), level=(0, 0)),
        _stratum('partial', (1,), level=(1, 1)),
        _stratum('heavy', (1,), level=(2, 2)),
        _stratum('all', (20,), level=(0, 2)),
    ),
    border=(5, 5, 635, 507),
    size=(512, 640),
    reading='script',
    counts_empty_images=False,
)

# Dollar et al., PAMI 2012, by the setups of dbEval.m. An instance that is not occluded has v = 1, and no part in
# `partial`. Annotators wrote a visible box equal to the whole for what is hardly visible, for which the toolbox takes
# v = 0: a file for this preset must give v itself, or such an instance another visible box.
CALTECH = Protocol(
    'caltech',
    'dbEval.m and bbGt.m of the Caltech toolbox',
    (
        _stratum('reasonable', (50,), visibility=(0.65,)),
        _stratum('no occlusion', (50,), visibility=(1,)),
        _stratum('partial', (50,), visibility=(0.65, 1, (True, False))),
        _stratum('heavy', (50,), visibility=(0.2, 0.65)),
        _stratum('near', (80,), visibility=(1,)),
        _stratum('medium', (30, 80), visibility=(1,)),
        _stratum('far', (20, 30), visibility=(1,)),
        _stratum('all', (20,), visibility=(0.2,)),
    ),
    max_dets=10**6,
    height_margin=1.25,
    border=(5, 5, 635, 475),
    size=(480, 640),
    aspect_ratio=0.41,
    fppi=FPPI,
)

# By the masks' hidden share h = 1 - v: Zhu et al., Semantic Amodal Segmentation, CVPR 2017 (none: h = 0; partial: up to
# a quarter; heavy: more), as their amodalAPI has it. The preset of that name; others are in docs/amodal.md.
AMODAL = tuple(
    InstanceStratum(name, ranges=(Range('visibility', *bounds),))
    for name, bounds in (('none', (1, 1)), ('partial', (0.75, 1, (True, False))), ('heavy', (0, 0.75, (True, False))))
)

# Shao et al., CrowdHuman, arXiv:1805.00123, evaluates all instances, in no strata. These are those of CityPersons, of
# any height and without what is in two of them.
CROWDHUMAN = Protocol(
    'crowdhuman',
    "MMDetection's CrowdHumanMetric, after CrowdDet (for all instances)",
    (
        InstanceStratum('bare', ranges=(Range('visibility', 0.9),)),
        InstanceStratum('partial', ranges=(Range('visibility', 0.65, 0.9, (True, False)),)),
        InstanceStratum('heavy', ranges=(Range('visibility', upper=0.65, includes=(True, False)),)),
    ),
    max_dets=10**6,
    reading='crowdhuman',
    is_crowdhuman=True,
)

PROTOCOLS = {each.name: each for each in (CITYPERSONS, KAIST, CALTECH, CROWDHUMAN)}
