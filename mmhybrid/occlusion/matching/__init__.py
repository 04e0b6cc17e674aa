"""Match once, accumulate many: COCO metrics on any subset of a data set's images.

Matching detections to ground truth is done image by image, so one pass serves every stratum. The engine
``pycocotools`` is the reference; ``hotcoco`` gives the same numbers (to 1e-12, on every stratum) in a hundredth of the
time where the extra ``fast`` is installed.

hotcoco works in threads that it starts once and keeps, and a fork copies none of them: in a process forked afterwards
(by a ``DataLoader``, say) any call would wait for ever. There ``pycocotools`` is the default and ``hotcoco`` refused;
processes that are spawned may use either.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mmhybrid.errors import InputError
from mmhybrid.text import show

from .index import Index, Matches
from .settings import Metrics, Settings

if TYPE_CHECKING:
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth
    from .hot import HotcocoMatched
    from .pycoco import PycocotoolsMatched

__all__ = ['ENGINES', 'Index', 'Matches', 'Metrics', 'Settings', 'default_engine', 'engine_name', 'match']

ENGINES = ('pycocotools', 'hotcoco')
# Whether this process was forked from one that had loaded hotcoco, and so perhaps started its threads.
lost_threads = False


def _note_fork() -> None:
    global lost_threads
    lost_threads = lost_threads or 'hotcoco' in sys.modules


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_note_fork)


def default_engine() -> str:
    """``'hotcoco'`` where it is installed and may be used, else ``'pycocotools'``."""
    return 'hotcoco' if find_spec('hotcoco') and not lost_threads else 'pycocotools'


def engine_name(name: str | None) -> str:
    """An engine's name, by default :func:`default_engine`; InputError if there is none, or not in this process."""
    name = default_engine() if name is None else name
    if name not in ENGINES:
        raise InputError(f'unknown engine {show(name)}; choose from {", ".join(ENGINES)}.')
    if name == 'hotcoco' and not find_spec('hotcoco'):
        raise InputError("the engine 'hotcoco' is not installed; pip install hotcoco, or take 'pycocotools'.")
    if name == 'hotcoco' and lost_threads:
        raise InputError(
            "the engine 'hotcoco' would wait for ever in a process forked after it was loaded; take 'pycocotools', or "
            "start the process by multiprocessing's 'spawn'."
        )
    return name


def match(
    gt: GroundTruth, dt: Detections, iou_type: str = 'bbox', index: Index | None = None, engine: str | None = None
) -> PycocotoolsMatched | HotcocoMatched:
    """Match checked detections to ground truth by ``'bbox'`` or ``'segm'``; ``index`` is theirs, by default COCO's.

    What is returned gives ``metrics(members)`` on strata, each the positions of its images in ``Index.image_ids``, none
    twice, and ``matches()``, the matches themselves over all areas.
    """
    index = Index.of(gt, dt) if index is None else index
    if engine_name(engine) == 'hotcoco':
        from .hot import HotcocoMatched as Engine
    else:
        from .pycoco import PycocotoolsMatched as Engine
    return Engine(gt, dt, iou_type, index)
