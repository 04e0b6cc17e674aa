"""The results that a caller wants shown: checked, and what is to be told of them beside the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from mmhybrid.errors import InputError
from mmhybrid.text import clean, plural

from ..matching.settings import COCO
from ..results import Bootstrap, Comparison, OcclusionResult

BRACKETS = '[low, high]'
# Fewer resamples make rough bounds.
ENOUGH = 100
_ADVICE = {OcclusionResult: 'evaluate(...).values()', Comparison: 'compare(...).comparisons'}
Row = TypeVar('Row', OcclusionResult, Comparison)


def listed(given: Any, kind: type[Row]) -> list[Row]:
    """The list of what was given; ``evaluate`` returns a dictionary.

    Raises:
        InputError: It is one alone, a dictionary or anything else that is no list of ``kind``.
    """
    is_many = isinstance(given, Iterable) and not isinstance(given, Mapping)
    rows = list(given) if is_many else []
    wrong = [f' with {type(row).__name__}' for row in rows if not isinstance(row, kind)]
    if wrong or not is_many:
        what = ''.join((type(given).__name__, *wrong[:1]))
        raise InputError(f'a {what} cannot be shown; give a list of {kind.__name__}, e.g. {_ADVICE[kind]}.')
    return rows


def notes_of(results: Iterable[OcclusionResult]) -> list[str]:
    """The notes of some results, each once, led by the models that it is about if these are not all."""
    results = list(results)
    about: dict[str, dict[str, None]] = {}
    for result in results:
        for note in result.notes:
            about.setdefault(note, {})[result.name] = None
    everyone = {result.name for result in results}
    return [clean(note if len(own) == len(everyone) else f'{", ".join(own)}: {note}') for note, own in about.items()]


def settings_of(result: OcclusionResult) -> str:
    """What is not as COCO evaluation has it; empty if nothing."""
    settings, most = result.settings, plural(result.settings.max_dets, 'detection')
    parts = {
        f'IoU thresholds {", ".join(f"{each:g}" for each in settings.iou_thrs)}': settings.iou_thrs != COCO.iou_thrs,
        f'at most {most} of an image and category': settings.max_dets != COCO.max_dets,
        f'categories {", ".join(map(str, settings.categories or ()))} alone': settings.categories is not None,
        'all categories taken for one': settings.class_agnostic,
        "instances with 'ignore' set taken for any others": result.ignore != 'region',
        f'matched with the {result.masks} masks and their boxes': result.masks != '',
    }
    return '; '.join(clean(part) for part, is_other in parts.items() if is_other)


def made_by(results: Sequence[OcclusionResult]) -> list[str]:
    """How the results were made, a line each: intervals and settings that are not COCO's."""
    boots = dict.fromkeys(result.bootstrap for result in results if result.bootstrap is not None)
    others = dict.fromkeys(filter(None, map(settings_of, results)))
    return [*(f'{BRACKETS}: {intervals(boot)}' for boot in boots), *(f'not as COCO: {other}' for other in others)]


def intervals(boot: Bootstrap, paired: str = '') -> str:
    """What the brackets hold: ``'95% bootstrap interval, 1,000 resamples of the images'``."""
    rough = f', too few to rely on (give {ENOUGH} or more)' if boot.resamples < ENOUGH else ''
    kind = f'{boot.confidence * 100:g}% {paired}bootstrap interval'
    return f'{kind}, {plural(boot.resamples, "resample")} of the images{rough}'
