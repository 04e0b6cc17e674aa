"""What the weights of dense shortcuts have become.

C. Zhang et al., "ResNet or DenseNet? Introducing Dense Shortcuts to ResNet", arXiv 2010.12496: block l of a stage adds
w_{l,i} Norm(X_i) for each earlier output X_i. Norm(X_i) has variance 1 in each channel wherever the norm measures
it, so that |w_{l,i}| is the standard deviation that a source brings to a channel, and sources can be compared by it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from mmhybrid.backbones.dsnet import DenseStage
from mmhybrid.errors import InputError
from mmhybrid.layers import DenseShortcut

from ..drawing import shortcuts as drawing
from ..findings import Findings, Table
from ..subjects import Subject

NEAR_ZERO = 0.01  # of |w|, against sources of variance 1
MATRICES = ('mean_abs', 'mean', 'std', 'near_zero', 'start')


def weight_statistics(shortcut: DenseShortcut) -> dict[str, np.ndarray]:
    """What is told of a shortcut's weights (S, C): arrays (S,), one value for each source.

    Returns:
        ``mean_abs``, mean of |w| over channels; ``mean`` and ``std`` of w; ``near_zero``, the share of channels with
        |w| < 0.01; ``p05`` and ``p95``, quantiles of |w|; ``start``, the value of all w when training started.
    """
    w = shortcut.weight.detach().double().cpu().numpy()
    size = np.abs(w)
    low, high = np.quantile(size, (0.05, 0.95), axis=1)
    return {
        'mean_abs': size.mean(1),
        'mean': w.mean(1),
        'std': w.std(1),
        'near_zero': (size < NEAR_ZERO).mean(1),
        'p05': low,
        'p95': high,
        'start': start_values(shortcut),
    }


def start_values(shortcut: DenseShortcut) -> np.ndarray:
    """Values of w (S,) when training starts; they are the same for all channels."""
    fresh = DenseShortcut(1, shortcut.num_sources, start=shortcut.start)
    return fresh.weight.detach().double().numpy()[:, 0]


def stage_matrices(stage: Sequence[nn.Module]) -> dict[str, np.ndarray]:
    """Matrices (L, L) of a stage of L blocks: row l - 1 is block l, column i is source X_i, X_0 the stage's input.

    NaN stands where there is no weight: for X_i with i >= l, and where the stage's input is no source.

    Args:
        stage: Blocks with ``shortcut``, and ``include_stage_input``.
    """
    n, first = len(stage), 0 if stage.include_stage_input else 1
    found = {name: np.full((n, n), np.nan) for name in MATRICES}
    for row, block in enumerate(stage):
        if not block.shortcut.identity:
            told = weight_statistics(block.shortcut)
            for name in MATRICES:
                found[name][row, first : row + 1] = told[name]
    return found


def inner_shortcuts(stage: Sequence[nn.Module]) -> Iterator[tuple[int, int, DenseShortcut]]:
    """Block from 1, 3x3 convolution from 1 and the shortcut across it, wherever a stage has one."""
    for l, block in enumerate(stage, 1):  # noqa: E741 (the paper's symbol)
        inner = getattr(block, 'inner', None)
        if inner is not None:
            for i, shortcut in enumerate([inner] if isinstance(inner, DenseShortcut) else inner, 1):
                yield l, i, shortcut


def parts(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Values of a matrix (L, L) by the age of their source: the ``newest``, X_{l-1}; the stage's ``input`` X_0 where it
    is not the newest; and those ``between``. There may be none; NaN is left out."""
    rows, columns = np.indices(matrix.shape)
    known, newest = ~np.isnan(matrix), rows == columns
    old = known & ~newest
    return {
        'newest': matrix[known & newest],
        'input': matrix[old & (columns == 0)],
        'between': matrix[old & (columns > 0)],
    }


def run(subjects: Sequence[Subject], samples: Sequence[Any], args: argparse.Namespace) -> Findings:
    """Read the weights of the dense shortcuts of models.

    Args:
        subjects: The models.
        samples: Not used; weights need no images.
        args: Not used.

    Raises:
        InputError: If a model has none.
    """
    found = {subject.name: _read(subject) for subject in subjects}
    answer, rows = [], []
    for name, told in found.items():
        prefix = f'{name}: ' if len(found) > 1 else ''
        for stage in told['stages']:
            now, then = parts(stage['mean_abs']), parts(stage['start'])
            near_zero = stage['near_zero'][~np.isnan(stage['near_zero'])].mean()
            cells = [_cell(now[part], then[part]) for part in now]
            rows.append([f'{prefix}{stage["name"]}', *cells, f'{100 * near_zero:.1f}%'])
        answer.append(_sentence(name, told))
    columns = ['stage', 'newest X_l-1', 'input X_0', 'between', f'|w| < {NEAR_ZERO}']
    return Findings(
        answer,
        'Row l is a block, column i an earlier output of the stage that it adds, X_0 the stage’s input: the mean over '
        'channels of |w_l,i|, the standard deviation that this source brings to a channel, as sources are normalised. '
        'What all weights of a row were when training started stands beside it.',
        {'near_zero': NEAR_ZERO, 'models': found},
        drawing.draw(found),
        [Table('Mean |w| (at the start)', columns, rows)],
        list(_notes(subjects, found)),
    )


def _read(subject: Subject) -> dict[str, Any]:
    stages = subject.modules(DenseStage)
    learnt = {name: stage for name, stage in stages.items() if any(not block.shortcut.identity for block in stage)}
    if not learnt:
        kind = type(subject.backbone).__name__
        what = 'plain sums (identity_dense), without weights' if stages else 'no dense shortcuts'
        raise InputError(
            f'{subject.name}: {kind} has {what}; dsnet50, ds2net50 and ds2res2net50, and DSNet, DS2Net and DS2Res2Net '
            'of other depths, have weighted ones.'
        )
    inner = [
        {'stage': name, 'block': l, 'convolution': i}
        | {key: float(value[0]) for key, value in weight_statistics(shortcut).items()}
        for name, stage in learnt.items()
        for l, i, shortcut in inner_shortcuts(stage)  # noqa: E741
    ]
    return {'stages': [{'name': name, **stage_matrices(stage)} for name, stage in learnt.items()], 'inner': inner}


def _cell(now: np.ndarray, then: np.ndarray) -> str:
    return f'{now.mean():.3f} ({np.abs(then).mean():.3f})' if now.size else ''


def _sentence(name: str, told: Mapping[str, Any]) -> str:
    now, then = ([parts(stage[key]) for stage in told['stages']] for key in ('mean_abs', 'start'))
    words = []
    for part, what in (('newest', 'newest source'), ('input', 'stage’s input, if older'), ('between', 'others')):
        size, start = (np.concatenate([each[part] for each in stages]) for stages in (now, then))
        if size.size:
            words.append(f'{size.mean():.3f} for the {what} ({start.mean():.3f} at the start)')
    count = sum(values.size for each in now for values in each.values())
    text = f'{name}: mean |w| of {count} sources in {len(now)} stages is {", ".join(words)}'
    if told['inner']:
        size, start = (np.mean([row[key] for row in told['inner']]) for key in ('mean_abs', 'start'))
        text += f'; of {len(told["inner"])} inner shortcuts it is {size:.3f} ({start:.3f})'
    return f'{text}.'


def _notes(subjects: Sequence[Subject], found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    starts = {'mean': '1 / (number of sources)', 'last': '1 for the newest source and 0 for the others', 'zero': '0'}
    for subject in subjects:
        weighted = [m for m in subject.backbone.modules() if isinstance(m, DenseShortcut) and not m.identity]
        kinds = dict.fromkeys(m.start for m in weighted if not m.norms)  # inner ones have norms of their own
        inner = {float(row['start']) for row in found[subject.name]['inner']}
        text = ' or '.join(starts[kind] for kind in kinds)
        text += ''.join(f', and {value:g} in inner shortcuts' for value in sorted(inner))
        yield f'{subject.name}: training starts with w = {text}.'
        untouched = sum(bool((m.weight.detach().cpu() == _start(m)).all()) for m in weighted)
        if untouched == len(weighted):
            yield f'{subject.name}: all weights are where training starts, so nothing was learnt, or they are frozen.'
        elif untouched:
            yield f'{subject.name}: {untouched} of {len(weighted)} shortcuts are where training starts.'
    if len(subjects) > 1:
        yield 'Another seed of training gives other weights, so that small differences between models say nothing.'


def _start(shortcut: DenseShortcut) -> torch.Tensor:
    return torch.from_numpy(start_values(shortcut)).to(shortcut.weight.dtype)[:, None]
