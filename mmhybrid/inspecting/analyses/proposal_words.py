"""What was counted in words: sentences, tables and notes of ``mmhybrid inspect proposals``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from ..findings import Table
from .proposal_counts import EVERY, STRATA, Measured

FEW = 20  # instances, of which a share says little
STEP_NAMES = {'proposals': 'proposals', 'before': 'before NMS', 'after': 'detections'}


def _ends(counts: np.ndarray) -> list[int]:
    """The first and the last stratum of enough instances, or of any."""
    for least in (FEW, 1):
        found = np.flatnonzero(counts[:-1] >= least)
        if len(found) > 1 or (least == 1):
            return sorted({int(found[0]), int(found[-1])})
    return []


def sentence(model: Measured, counts: np.ndarray, score_thr: float) -> str:
    """What one model's counts come to in the least and the most covered stratum; ``counts`` (S + 1,) of instances."""
    ends, values = _ends(counts), {name: each.values for name, each in model.summaries.items()}

    def both(name: str, form: str) -> str:
        return ' and '.join(form.format(values[name][i]) for i in ends)

    parts = [f'{both("before", "{:.2f}")} boxes of a score above {score_thr:g} before NMS']
    if 'proposals' in values:
        parts.insert(0, f'{both("proposals", "{:.1f}")} proposals')
    return (
        f'{model.name}: instances covered {" and ".join(STRATA[i] for i in ends)} have on average {", ".join(parts)} '
        f'and {both("after", "{:.2f}")} detections after it; {both("missed", "{:.1%}")} are missed, '
        f'{both("suppressed", "{:.1%}")} had boxes before NMS and none after.'
    )


def tables(model: Measured, counts: np.ndarray) -> list[Table]:
    """Tables of one model: a row a stratum, and one of all instances."""
    found = model.summaries

    def cell(name: str, i: int, form: str) -> str:
        value, low, high = (getattr(found[name], part)[i] for part in ('values', 'low', 'high'))
        if np.isnan(value):
            return '–'
        return form.format(value) + (f' [{form.format(low)}, {form.format(high)}]' if not np.isnan(low) else '')

    def table(title: str, columns: dict[str, str], form: str) -> Table:
        names = {name: heading for name, heading in columns.items() if name in found}
        rows = [
            [stratum, str(counts[i]), *(cell(name, i, form) for name in names)]
            for i, stratum in enumerate([*STRATA, EVERY])
        ]
        return Table(f'{model.name}: {title}', ['covered', 'instances', *names.values()], rows)

    per_instance = {
        'proposals': 'proposals',
        'before': 'before NMS',
        'after': 'detections',
        'removed': 'removed by NMS',
    }
    shares = {
        'missed': 'missed', 'without_candidate': 'nothing before NMS', 'suppressed': 'suppressed',
        'suppressed_by_neighbour': 'by a neighbour', 'twice': 'found twice or more',
    }  # fmt: skip
    ambiguous = {f'ambiguous_{step}': name for step, name in STEP_NAMES.items()}
    made = [
        table('boxes for each instance, 95% interval', per_instance, '{:.2f}'),
        table('share of instances', shares, '{:.1%}'),
        table('share of an instance’s boxes that overlap another instance, too', ambiguous, '{:.1%}'),
    ]
    for step, (level, counted) in model.levels.items():
        rows = [
            [stratum, str(counted[i]), *('–' if np.isnan(each) else f'{each:.1%}' for each in level[i])]
            for i, stratum in enumerate([*STRATA, EVERY])
        ]
        title = f'{model.name}: level of the FPN, {STEP_NAMES[step]}'
        made.append(Table(title, ['covered', 'instances', *model.reader.levels], rows))
    return made


def notes(models: Sequence[Measured], counts: np.ndarray, args: argparse.Namespace) -> list[str]:
    """What might mislead."""
    found = []
    few = [f'{name} ({n})' for name, n in zip(STRATA, counts, strict=False) if n < FEW]
    if few:
        found.append(f'Strata of fewer than {FEW} instances say little: {", ".join(few)}; raise --limit for more.')
    if len(models) > 1:
        found.append('One checkpoint of each model on one sample of images shows no difference between architectures.')
    for model in models:
        if not model.columns['before'].any():
            found.append(
                f'{model.name} scores no instance’s box above {args.score_thr:g}; lower --score-thr to see more.'
            )
        if model.reader.least_score > args.score_thr:
            least = f'{model.reader.least_score:g}'
            found.append(f'{model.name} itself drops boxes of a score of {least} or less (test_cfg.score_thr).')
        if model.capped:
            found.append(
                f'{model.name}: in {model.capped} images the limit of detections an image (test_cfg.max_per_img), and '
                'not NMS alone, may have removed boxes.'
            )
        if not model.reader.levels:
            found.append(f'{model.name}: the level of the FPN that its boxes come from cannot be told.')
    return found
