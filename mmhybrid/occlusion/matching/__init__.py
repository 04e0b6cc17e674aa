"""Match once, accumulate many: COCO metrics on any subset of a data set's images.

Matching detections to ground truth is done image by image, so one pass serves every stratum. An engine is a function
``match(gt, dt, iou_type)`` that matches and returns a :class:`Matched`. ``pycocotools`` is the reference; ``hotcoco``
gives the same numbers (to 1e-12, on every stratum) in a hundredth of the time where the extra ``fast`` is installed.

hotcoco works in threads that it starts once and keeps. A fork copies none of them, so that in a process forked
afterwards (a worker of a ``DataLoader`` or of a ``multiprocessing`` pool) any call of it would wait for ever. There
``pycocotools`` is the default and ``hotcoco`` is refused; processes that are spawned may use either.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from mmhybrid.errors import InputError

if TYPE_CHECKING:
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth
    from .matches import Matches

MAX_DETS = 100
ENGINES = ('pycocotools', 'hotcoco')
NAN = float('nan')


@dataclass(frozen=True)
class Metrics:
    """COCO metrics in [0, 1], NaN without ground truth, at most 100 detections an image and category.

    Attributes:
        ap: AP averaged over IoU 0.50:0.95, all areas.
        ap50: AP at IoU 0.50.
        ap75: AP at IoU 0.75.
        aps: AP of small instances, area below 32 squared.
        apm: AP of medium ones, up to 96 squared.
        apl: AP of large ones.
        ar: AR averaged over IoU 0.50:0.95, all areas.
    """

    ap: float = NAN
    ap50: float = NAN
    ap75: float = NAN
    aps: float = NAN
    apm: float = NAN
    apl: float = NAN
    ar: float = NAN


class Matched(Protocol):
    """Detections matched to ground truth on every image of a data set, by one IoU type."""

    def metrics(self, strata: Mapping[str, Sequence[int]]) -> dict[str, Metrics]:
        """Metrics on each stratum's images alone: name -> image ids (any order, none twice)."""

    def matches(self) -> Matches:
        """The matches themselves, over all areas."""


class _Fork:
    """Whether this process was forked from one that had loaded hotcoco, and so perhaps started its threads."""

    lost_threads = False

    @classmethod
    def note(cls) -> None:
        """Called in every forked process as soon as it begins."""
        cls.lost_threads |= 'hotcoco' in sys.modules


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_Fork.note)


def default_engine() -> str:
    """``'hotcoco'`` where it is installed and may be used (see above), else ``'pycocotools'``."""
    return 'hotcoco' if find_spec('hotcoco') and not _Fork.lost_threads else 'pycocotools'


def check_hotcoco() -> None:
    """Refuse to wait for threads that a fork has left behind.

    Raises:
        InputError: This process was forked from one that had loaded hotcoco.
    """
    if _Fork.lost_threads:
        raise InputError(
            "the engine 'hotcoco' would wait for ever in a process forked after it was loaded; take 'pycocotools', or "
            "start the process by multiprocessing's 'spawn'."
        )


def get(name: str | None) -> tuple[str, Callable[[GroundTruth, Detections, str], Matched]]:
    """An engine's name and its ``match``; None asks for :func:`default_engine`.

    Raises:
        InputError: No engine has this name, its package is not installed, or it cannot work in this process.
    """
    name = default_engine() if name is None else name
    if name == 'pycocotools':
        from . import pycoco as reference

        return name, reference.match
    if name == 'hotcoco':
        if not find_spec('hotcoco'):
            raise InputError("the engine 'hotcoco' is not installed; pip install hotcoco, or take 'pycocotools'.")
        check_hotcoco()
        from . import hot as fast

        return name, fast.match
    raise InputError(f'unknown engine {name!r}; choose from {", ".join(ENGINES)}.')
