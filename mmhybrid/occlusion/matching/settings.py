"""What COCO evaluation is asked for, and the metrics that it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

NAN = float('nan')
# The values of pycocotools' ``Params.setDetParams``, bit for bit.
IOU_THRS = tuple(np.linspace(0.5, 0.95, 10).tolist())
MAX_DETS = 100
# COCO's "all areas" ends here; what is larger is ignored, as a crowd region is.
MAX_AREA = 1e5**2


@dataclass(frozen=True)
class Metrics:
    """COCO metrics in [0, 1], NaN without ground truth.

    Attributes:
        ap: AP averaged over the IoU thresholds, 0.50:0.95 by default, all areas.
        ap50: AP at IoU 0.50; NaN if that is none of the thresholds.
        ap75: AP at IoU 0.75; likewise.
        aps, apm, apl: AP of small instances, area below 32 squared, of medium ones, up to 96 squared, and of large.
        ar: AR averaged over the thresholds, all areas.
    """

    ap: float = NAN
    ap50: float = NAN
    ap75: float = NAN
    aps: float = NAN
    apm: float = NAN
    apl: float = NAN
    ar: float = NAN


@dataclass(frozen=True)
class Settings:
    """How detections are matched; the defaults are COCO's. Strata do not depend on it, they are by all instances.

    Attributes:
        iou_thrs: The IoU thresholds, ascending; one that rounding took off COCO's (0.6000000000000001) is COCO's.
        max_dets: How many detections of an image and category count, those with the best scores; None for the usual
            number, COCO's 100 or that of a benchmark's preset.
        class_agnostic: Whether a detection may take an instance of any category, as if there were one only.
        categories: Ids or names of the categories that are evaluated; None for all.

    Raises:
        InputError: A value that cannot be used.
    """

    iou_thrs: Sequence[float] = IOU_THRS
    max_dets: int | None = None
    class_agnostic: bool = False
    categories: Sequence[int | str] | None = None

    def __post_init__(self) -> None:
        keep_plain(self)
        if self.max_dets is not None and self.max_dets < 1:
            raise InputError(f'max_dets is {self.max_dets}; give a positive integer.')
        thresholds = _listed(self.iou_thrs, Real, _threshold)
        if not thresholds or not all(0 < each <= 1 for each in thresholds):
            raise InputError(f'the IoU thresholds are {show(self.iou_thrs)}; give numbers above 0 and up to 1.')
        categories = None if self.categories is None else _listed(self.categories, str, _id_or_name)
        if categories == ():
            raise InputError(
                f'the categories are {show(self.categories)}; give a list of ids or names, or None for all.'
            )
        object.__setattr__(self, 'iou_thrs', tuple(sorted(thresholds)))
        object.__setattr__(self, 'categories', categories)

    def limited(self, usual: int = MAX_DETS) -> Settings:
        """With the ``usual`` number of detections where none was asked for."""
        return replace(self, max_dets=usual) if self.max_dets is None else self

    def at(self, iou_thr: float) -> int | None:
        """The position of a threshold among those that are matched at; None if it is none of them."""
        wanted = _threshold(iou_thr)
        return self.iou_thrs.index(wanted) if wanted in self.iou_thrs else None

    def chosen(self, categories: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Ids ``(K,)`` int64, ascending, of the records of ``categories`` that are evaluated.

        Raises:
            InputError: One of the settings' is not among them, or is the name of several.
        """
        ids = [row['id'] for row in categories]
        if self.categories is not None:
            ids = [_category_id(each, categories) for each in self.categories]
        return np.unique(np.array(ids, dtype=np.int64))


def keep_plain(given: Any) -> None:
    """Make the plain fields of a frozen dataclass Python's own values; InputError names one of another type."""
    for each in fields(given):
        if each.type in PLAIN:
            value, (kind, words, plain) = getattr(given, each.name), PLAIN[each.type]
            if not isinstance(value, kind):
                raise InputError(f'{each.name} is {show(value)}; give {words}.')
            object.__setattr__(given, each.name, plain(value))


def _as_float(given: Any) -> float:
    # One of fewer bits as it is written: 0.3 and not 0.30000001192092896.
    return float(str(given)) if isinstance(given, np.floating) else float(given)


PLAIN = {
    'bool': (bool | np.bool_, 'True or False', bool),
    'int': (Integral, 'an integer', int),
    'int | None': (Integral | None, 'an integer', lambda value: None if value is None else int(value)),
    'float': (Real, 'a number', _as_float),
    'float | None': (Real | None, 'a number', lambda value: None if value is None else _as_float(value)),
}


def _threshold(given: Any) -> float:
    value = _as_float(given)
    return next((each for each in IOU_THRS if abs(each - value) <= 1e-9), value)


def _listed(given: Any, alone: type, kind: Callable[[Any], Any]) -> tuple:
    """The values of a list, or the one given ``alone``, each once; empty if they cannot be used."""
    try:
        return tuple(dict.fromkeys(map(kind, [given] if isinstance(given, alone) else given)))
    except (TypeError, ValueError):
        return ()


def _id_or_name(given: Any) -> Any:
    is_whole = isinstance(given, Integral) or (isinstance(given, float) and given.is_integer())
    return int(given) if is_whole else given


def _category_id(wanted: int | str, categories: Sequence[Mapping[str, Any]]) -> int:
    # By name, else by id as text: a command line has nothing else.
    found = [row['id'] for row in categories if row['name'] == wanted]
    found = found or [row['id'] for row in categories if str(row['id']) == str(wanted).strip()]
    if len(found) > 1:
        raise InputError(f'{len(found)} categories are called {show(wanted)}; give their ids, {show(found)}.')
    if not found:
        names = list(dict.fromkeys(row['name'] for row in categories))
        others = f' and {len(names) - 10} others' if len(names) > 10 else ''
        known = ', '.join(map(show, names[:10])) + others
        raise InputError(f'no category has the name or id {show(wanted)}; choose from {known}.')
    return found[0]


# What evaluation is where nothing else is asked for.
COCO = Settings().limited()
