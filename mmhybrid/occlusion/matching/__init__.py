"""Match once, accumulate many: COCO metrics on any subset of a data set's images.

Matching detections to ground truth is done image by image, so one pass serves every stratum. The engine
``pycocotools`` is the reference; ``hotcoco`` gives the same numbers (to 1e-12, on every stratum) in a hundredth of the
time where the extra ``fast`` is installed and the process may use it (see :mod:`.forked`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import forked
from .index import Index, Matches
from .settings import Metrics, Settings

if TYPE_CHECKING:
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

__all__ = ['ENGINES', 'Index', 'Matched', 'Matches', 'Metrics', 'Settings', 'default_engine', 'engine_name', 'match']

ENGINES = ('pycocotools', 'hotcoco')


class Matched(Protocol):
    """Detections matched to ground truth on every image of a data set, by one IoU type."""

    def metrics(self, members: Sequence[np.ndarray]) -> list[Metrics]:
        """Metrics on each stratum alone, given its images' positions in ``Index.image_ids``, none twice."""

    def matches(self) -> Matches:
        """The matches themselves, over all areas."""


def default_engine() -> str:
    """``'hotcoco'`` where it is installed and may be used, else ``'pycocotools'``."""
    return 'hotcoco' if find_spec('hotcoco') and not forked.lost_threads else 'pycocotools'


def engine_name(name: str | None) -> str:
    """An engine's name, by default :func:`default_engine`; InputError if there is none, or not in this process."""
    name = default_engine() if name is None else name
    if name not in ENGINES:
        raise InputError(f'unknown engine {show(name)}; choose from {", ".join(ENGINES)}.')
    if name == 'hotcoco':
        if not find_spec('hotcoco'):
            raise InputError("the engine 'hotcoco' is not installed; pip install hotcoco, or take 'pycocotools'.")
        forked.check_hotcoco()
    return name


def match(
    gt: GroundTruth, dt: Detections, iou_type: str = 'bbox', index: Index | None = None, engine: str | None = None
) -> Matched:
    """Match checked detections to ground truth by ``'bbox'`` or ``'segm'``; ``index`` is theirs, by default COCO's."""
    index = Index.of(gt, dt) if index is None else index
    if engine_name(engine) == 'hotcoco':
        from .hot import HotcocoMatched

        return HotcocoMatched(gt, dt, iou_type, index)
    from .pycoco import PycocotoolsMatched

    return PycocotoolsMatched(gt, dt, iou_type, index)
