"""What was counted in words: sentences, tables and notes of ``mmhybrid inspect proposals``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from ..findings import Table
from .proposal_counts import EVERY, SHARES, STEPS, STRATA, Measured, Summary

FEW = 20  # instances, of which a share says little
STEP_NAMES = {'proposals': 'proposals', 'before': 'before NMS', 'after': 'detections'}


def _ends(counts: np.ndarray) -> list[int]:
    """The first and the last stratum of enough instances, or of any."""
    for least in (FEW, 1):
        found = np.flatnonzero(counts[:-1] >= least)
        if len(found) > 1 or (least == 1):
            return sorted({int(found[0]), int(found[-1])})
    return []


def about(models: Sequence[Measured], iou_thr: float) -> str:
    """How to read the figures."""
    said = (
        'Each point is the mean over the instances of a stratum, which is the share of the instance’s box that boxes '
        'of other instances cover, with its 95% interval over images. A box belongs to the instance that it overlaps '
        f'most, at an IoU of {iou_thr:g} or more and, but for proposals, of its own class; missed and found twice mean '
        'that no or several detections belong to the instance, which is not COCO’s matching of one detection to one '
        'instance.'
    )
    two, one = (any(model.levels and model.reader.two_stages is is_two for model in models) for is_two in (True, False))
    if two:
        said += (
            ' The level of the FPN that a proposal comes from is the one whose anchor made it. That of a box of a '
            'detector with two stages, before NMS and after, is the one that the features of its region of interest '
            '(RoI) were pooled from: the RoI is the proposal, or in a cascade what the last stage was given, and its '
            'size decides (FPN, eq. 1).'
        )
    if one:
        said += ' The level of a box of a detector with one stage is the one whose anchor or point made it.'
    return said


def threshold(models: Sequence[Measured]) -> str:
    """Above which score boxes count, of each model where they differ."""
    return ' or '.join(f'{each:g}' for each in dict.fromkeys(model.reader.score_thr for model in models))


def level_of(model: Measured, step: str) -> str:
    """What the level of one step's boxes is that of."""
    if not model.reader.two_stages:
        return 'anchor or point'
    return 'anchor' if step == 'proposals' else 'RoI'


def sentence(model: Measured, counts: np.ndarray) -> str:
    """What one model's counts come to in the least and the most covered stratum; ``counts`` (S + 1,) of instances."""
    ends, values = _ends(counts), {name: each.values for name, each in model.summaries.items()}

    def both(name: str, form: str) -> str:
        return ' and '.join(form.format(values[name][i]) for i in ends)

    parts = [f'{both("before", "{:.2f}")} boxes of a score above {model.reader.score_thr:g} before NMS']
    if 'proposals' in values:
        parts.insert(0, f'{both("proposals", "{:.1f}")} proposals')
    return (
        f'{model.name}: instances covered {" and ".join(STRATA[i] for i in ends)} have on average {", ".join(parts)} '
        f'and {both("after", "{:.2f}")} detections after it; {both("missed", "{:.1%}")} are missed, '
        f'{both("suppressed", "{:.1%}")} had boxes before NMS and none after.'
    )


def tables(model: Measured, counts: np.ndarray) -> list[Table]:
    """Tables of one model, of 80 columns at most: a row a stratum, and one of all instances."""
    found = model.summaries

    def table(title: str, columns: dict[str, str]) -> Table:
        names = {name: heading for name, heading in columns.items() if name in found}
        rows = [
            [stratum, str(counts[i]), *(_cell(*_at(found[name], i), name in SHARES) for name in names)]
            for i, stratum in enumerate([*STRATA, EVERY])
        ]
        return Table(f'{model.name}: {title} [95% interval]', ['covered', 'instances', *names.values()], rows)

    # What NMS removes is the difference; it is a column where there is room.
    per_instance = {**STEP_NAMES, **({} if 'proposals' in found else {'removed': 'removed by NMS'})}
    made = [
        table('boxes for each instance', per_instance),
        table(
            'percent of instances that have no detection, or several',
            {'missed': 'missed', 'twice': 'found twice or more'},
        ),
        table(
            'percent of instances that are missed with no box before NMS, or with some (suppressed), and with the best '
            'removed by a box of another instance (by a neighbour)',
            {
                'without_candidate': 'no box before',
                'suppressed': 'suppressed',
                'suppressed_by_neighbour': 'by a neighbour',
            },
        ),
        table(
            'percent of an instance’s boxes that overlap another instance, too',
            {f'ambiguous_{step}': name for step, name in STEP_NAMES.items()},
        ),
    ]
    for step, (level, counted) in model.levels.items():
        rows = [
            [stratum, str(counted[i]), *(_percent(100 * each) for each in level[i])]
            for i, stratum in enumerate([*STRATA, EVERY])
        ]
        title = f'{model.name}: level of the FPN, {STEP_NAMES[step]}: percent by stride of the {level_of(model, step)}'
        headings = [name.removeprefix('stride ') for name in model.reader.levels]
        made.append(Table(title, ['covered', 'instances', *headings], rows))
    return made


def _at(summary: Summary, i: int) -> tuple[float, float, float]:
    return summary.values[i], summary.low[i], summary.high[i]


def _cell(value: float, low: float, high: float, share: bool) -> str:
    """A value with its interval if it has one, as short as can be: ``19 [2, 43]``."""
    if np.isnan(value):
        return '–'
    if share:
        value, low, high = 100 * value, 100 * low, 100 * high
    digits = 2 if value < 1 else 1 if value < 100 else 0
    shown = _percent if share else f'{{:.{digits}f}}'.format
    return shown(value) + ('' if np.isnan(low) else f' [{shown(low)}, {shown(high)}]')


def _percent(value: float) -> str:
    """Without decimals, but 0 and 100 only for none and all."""
    if np.isnan(value):
        return '–'
    return '<1' if 0 < value <= 0.5 else '>99' if 99.5 <= value < 100 else f'{value:.0f}'


def notes(models: Sequence[Measured], counts: np.ndarray, args: argparse.Namespace) -> list[str]:
    """What might mislead."""
    found = []
    few = [f'{name} ({n})' for name, n in zip(STRATA, counts, strict=False) if n < FEW]
    if few:
        found.append(f'Strata of fewer than {FEW} instances say little: {", ".join(few)}; raise --limit for more.')
    if len(models) > 1:
        found.append('One checkpoint of each model on one sample of images shows no difference between architectures.')
    if any(
        np.isin(each.values, (0, 1)).any()
        for model in models
        for name, each in model.summaries.items()
        if name in SHARES
    ):
        found.append(
            'Where none or all of n count, resampling gives no interval, and none is shown; none of n leaves up to '
            'about 3/n open (rule of three, from n = 30 on; more where those of one image are alike), as does all of n.'
        )
    for model in models:
        least, above = model.reader.least_score, model.reader.score_thr
        if not model.columns['before'].any():
            advice = (
                'lower --score-thr to see more.'
                if above > least
                else 'lower test_cfg.score_thr of the detector to see more (--cfg-options).'
            )
            found.append(f'{model.name} scores no instance’s box above {above:g}; {advice}')
        if least > args.score_thr:
            found.append(
                f'{model.name} itself drops boxes of a score of {least:g} or less (test_cfg.score_thr), so that this '
                f'counts here and not --score-thr {args.score_thr:g}.'
            )
        if model.capped:
            found.append(
                f'{model.name}: in {model.capped} images the limit of detections an image (test_cfg.max_per_img), and '
                'not NMS alone, may have removed boxes.'
            )
        unknown = [STEP_NAMES[step] for step in STEPS if step in model.columns and step not in model.levels]
        if unknown:
            found.append(
                f'{model.name}: which level of the FPN they come from cannot be told of: {", ".join(unknown)}.'
            )
    return found
