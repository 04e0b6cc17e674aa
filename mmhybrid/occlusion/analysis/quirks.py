"""Where the number of a benchmark's script is not MR^-2 by its definition, and what that would be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmhybrid.text import clean

from .. import matching
from .miss_rate import miss_rates

if TYPE_CHECKING:
    from ..matching import Index, Matches, Settings
    from ..protocols import Protocol
    from ..read.detections import Detections
    from .views import View

EMPTY = 'instances on images without any detection do not count'
LIMIT = 'the best detections of an image are chosen before those of other heights are left out'
READING = 'where a curve begins beyond an FPPI, its end is read'


class Quirk(NamedTuple):
    """A stratum's name, MR^-2 as the script has it and by the definition, and why these differ."""

    stratum: str
    by_script: float
    by_definition: float
    causes: tuple[str, ...]


def of_view(
    view: View,
    dt: Detections,
    settings: Settings,
    engine: str,
    index: Index,
    matches: Matches,
    members: Sequence[np.ndarray],
    names: Sequence[str],
) -> Iterator[Quirk]:
    """The strata of a view, by ``names`` and ``members``, on which the two differ.

    Args:
        view: Of strata of instances.
        dt: All detections.
        settings: Those of the study.
        engine: What matches.
        index: As the view sees them by the script.
        matches: Matched so.
        members: Of each stratum, the positions of its images.
        names: Of each stratum.
    """
    protocol = view.protocol
    if protocol is None or protocol.reading != 'script':
        return
    by_script, read_well = (
        miss_rates(matches, members, reading=reading, fppi=protocol.fppi)[0] for reading in ('script', 'caltech')
    )
    gt, kept, defined = view.see(dt, settings, by_script=False)
    causes = {
        EMPTY: np.count_nonzero(defined.gt_counted) != np.count_nonzero(index.gt_counted),
        LIMIT: len(defined.dt_index) != len(index.dt_index),
    }
    by_definition = read_well
    if any(causes.values()):
        found = matching.match(gt, kept, matches.iou_type, defined, engine).matches()
        by_definition = miss_rates(found, members, fppi=protocol.fppi)[0]
    shared = tuple(cause for cause, binds in causes.items() if binds)
    for name, script, well, definition in zip(names, by_script, read_well, by_definition, strict=True):
        if _percent(script) != _percent(definition):
            causes_here = (*shared, READING) if _percent(script) != _percent(well) else shared
            yield Quirk(name, float(script), float(definition), causes_here)


def note(protocol: Protocol, quirks: Iterable[Quirk]) -> Iterator[str]:
    """One line on all of them."""
    quirks = list(quirks)
    if quirks:
        causes = dict.fromkeys(cause for each in quirks for cause in each.causes)
        numbers = (
            f'{_percent(each.by_definition)} for {clean(each.stratum)} (not {_percent(each.by_script)})'
            for each in quirks
        )
        yield (
            f'MR^-2 is as the script of {protocol.name} has it: {", and ".join(causes)}; by the definition it is '
            f'{", ".join(numbers)}'
        )


def _percent(rate: float) -> str:
    """As papers give it."""
    return 'none' if np.isnan(rate) else f'{100 * rate:.2f}%'
