"""Linear centered kernel alignment (CKA) of features: how alike two representations of the same images are.

Kornblith et al., Similarity of neural network representations revisited, ICML 2019: with the kernels K = X X' and
L = Y Y' of features X (n, p) and Y (n, q) of n examples, CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)). It does not
change when X is rotated, scaled or moved.

The estimator. Kornblith's own HSIC, tr(KHLH) / (n - 1)^2, is biased: with n fewer than the features it nears 1 of
representations that have nothing in common. Here it is Song et al.'s unbiased one (Feature selection via dependence
maximization, JMLR 2012, equation 5), as in Nguyen et al., Do wide and deep networks learn the same things?, ICLR 2021.

The examples. One is an image, and its features are the whole map, as with Nguyen et al., averaged over a grid that all
maps have in common. Positions as examples would be more of them, yet neighbours in an image are not independent, which
the unbiased estimator takes examples to be.

The interval. A bootstrap draws images twice, and such pairs are the very ones that the unbiased estimator leaves out:
it would be biased again. The jackknife is not (Arvesen, Jackknifing U-statistics, 1969); it is taken of Fisher's
z = artanh(CKA), so that it stays within -1 to 1.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmhybrid.errors import InputError

from ..drawing.cka import Panel, draw
from ..findings import Findings, Table
from ..samples import Sample, progress
from ..subjects import Subject
from .features import Recorder, read

LEAST = 4  # images; HSIC divides by n - 3
LEAST_WITH_INTERVAL = 10
PARTS = 64  # that the jackknife leaves out in turn, at most
_Z = 1.959964  # of a normal distribution, for 95%
# Variation of a feature below this part of its size is the rounding of float32.
_ROUNDING = 1e-6


def u_centred(kernel: np.ndarray) -> np.ndarray:
    """A kernel matrix (n, n) without its diagonal, whose rows sum to 0 again (Székely and Rizzo, 2014, equation 2.8).

    The products of two of these sum to n (n - 3) times the unbiased HSIC of Song et al. (2012), equation 5. Hence
    CKA of it is a cosine, and never beyond -1 and 1.

    Raises:
        ValueError: n is under 4.
    """
    n = len(kernel)
    if n < LEAST:
        raise ValueError(f'the unbiased HSIC needs {LEAST} examples, and these are {n}')
    rows = (kernel.sum(1) - kernel.diagonal()) / (n - 2)
    centred = kernel - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)
    np.fill_diagonal(centred, 0)
    return centred


def centred(kernel: np.ndarray) -> np.ndarray:
    """H K H of a kernel matrix (n, n), whose products sum to (n - 1)^2 times the biased HSIC."""
    rows = kernel.mean(1)
    return kernel - rows[:, None] - rows[None, :] + rows.mean()


def gram(features: np.ndarray) -> np.ndarray | None:
    """The linear kernel (n, n), float64, of features (n, p) about their mean; None if they are constant or not finite.

    The mean changes neither HSIC, but taken off first it costs no digits.
    """
    x = features.astype(np.float64)
    if not np.isfinite(x).all():
        return None
    size = np.square(x).sum()
    x -= x.mean(0)
    if np.square(x).sum() <= _ROUNDING**2 * size:
        return None
    return x @ x.T


def cka(first: Sequence[np.ndarray | None], second: Sequence[np.ndarray | None], unbiased: bool = True) -> np.ndarray:
    """CKA (a, b) of each of a kernels with each of b, all (n, n); NaN where one is None or all its images are as far
    from each other."""
    centre = u_centred if unbiased else centred
    rows, columns = ([None if each is None else _unit(each, centre) for each in kernels] for kernels in (first, second))
    values = [[np.nan if x is None or y is None else float(x @ y) for y in columns] for x in rows]
    return np.clip(values, -1, 1).reshape(len(rows), len(columns))


def jackknife(
    first: Sequence[np.ndarray | None], second: Sequence[np.ndarray | None], seed: int = 0, parts: int = PARTS
) -> np.ndarray:
    """95% intervals (a, b, 2) of :func:`cka`, leaving out one image in turn, of more than ``parts`` one of as many
    parts of them drawn by ``seed``; NaN where there is no CKA, and with fewer than ``LEAST_WITH_INTERVAL`` images."""
    value = cka(first, second)
    n = next((len(each) for each in (*first, *second) if each is not None), 0)
    if n < LEAST_WITH_INTERVAL:
        return np.full((*value.shape, 2), np.nan)
    left_out = np.array_split(np.random.default_rng(seed).permutation(n), min(n, parts))
    z = []
    for out in left_out:
        kept = np.setdiff1d(np.arange(n), out)
        some = [[None if each is None else each[np.ix_(kept, kept)] for each in kernels] for kernels in (first, second)]
        z.append(_fisher(cka(*some)))
    spread = np.sqrt((len(z) - 1) * np.var(z, axis=0))
    return np.tanh(_fisher(value)[..., None] + _quantile(len(z) - 1) * np.stack([-spread, spread], axis=-1))


def _quantile(freedom: int) -> float:
    """97.5% quantile of Student's t, to 0.3% from 9 degrees of freedom on (Abramowitz and Stegun, 26.7.5)."""
    return _Z + (_Z**3 + _Z) / (4 * freedom) + (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / (96 * freedom**2)


def run(subjects: Sequence[Subject], samples: Sequence[Sample], args: argparse.Namespace) -> Findings:
    """Compare the first model's levels with those of each other one, or with each other if there is none."""
    if len(samples) < LEAST:
        raise InputError(
            f'CKA needs {LEAST} images or more, and {_images(len(samples))} given; name more or raise --limit.'
        )
    recorders = _recorders(subjects, args.layers)
    with progress(len(samples) * len(subjects), 'reading features, images') as done:
        features = [read(each, samples, args.grid, args.batch_size, done) for each in recorders]
    kernels = [{name: gram(values) for name, values in one.items()} for one in features]
    sizes = [{name: values.shape[1] for name, values in one.items()} for one in features]
    notes = _notes(subjects, samples, kernels)
    pairs = [(0, i) for i in range(1, len(subjects))] or [(0, 0)]
    panels = [_panel(subjects[i].name, kernels[i], subjects[j].name, kernels[j], i == j, args.seed) for i, j in pairs]
    return Findings(
        answer=[sentence for panel in panels for sentence in _answer(panel, len(samples))],
        about='Each cell is the CKA of the level of its row with the level of its column on the same images: 1 if the '
        'features differ by a rotation, a scale and a shift alone, 0 if they have nothing in common. Colour says the '
        'same as the number; a dash is where there is none, and what is below 0 has the colour of 0.',
        numbers={
            'images': len(samples),
            'grid': args.grid,
            'estimator': 'unbiased HSIC (Song et al., 2012, equation 5), linear kernel',
            'interval': f'95%, jackknife over {min(len(samples), PARTS)} parts of the images, of artanh(CKA)',
            'features': [{'model': one.name, 'numbers': size} for one, size in zip(subjects, sizes, strict=True)],
            'pairs': [_as_json(panel, kernels[i], kernels[j]) for panel, (i, j) in zip(panels, pairs, strict=True)],
        },
        figures={'': draw(panels, len(samples), args.grid)},
        tables=[_table(panel, sizes[i]) for panel, (i, _) in zip(panels, pairs, strict=True)],
        notes=notes,
    )


def _recorders(subjects: Sequence[Subject], layers: Sequence[str]) -> list[Recorder]:
    recorders = [Recorder(subject, layers) for subject in subjects]
    missing = [name for name in layers if not any(recorder.has(name) for recorder in recorders)]
    for recorder, subject in zip(recorders, subjects, strict=True):
        lacking = missing or ([] if not layers or any(map(recorder.has, layers)) else list(layers))
        if lacking:
            raise InputError(
                f'{subject.name} has no level or module {lacking[0]!r}: --layers takes levels such as backbone.0 and '
                f'neck.0 and modules of these such as {recorder.example}.'
            )
    return recorders


def _panel(
    row_model: str,
    rows: Mapping[str, np.ndarray | None],
    column_model: str,
    columns: Mapping[str, np.ndarray | None],
    is_self: bool,
    seed: int,
) -> Panel:
    first, second = list(rows.values()), list(columns.values())
    return Panel(
        row_model, list(rows), column_model, list(columns), cka(first, second), jackknife(first, second, seed), is_self
    )


def _as_json(
    panel: Panel, rows: Mapping[str, np.ndarray | None], columns: Mapping[str, np.ndarray | None]
) -> dict[str, Any]:
    return {
        'rows': {'model': panel.row_model, 'levels': panel.rows},
        'columns': {'model': panel.column_model, 'levels': panel.columns},
        'cka': panel.values,
        'low': panel.intervals[..., 0],
        'high': panel.intervals[..., 1],
        # What the plain estimator gives, to be set beside articles that print it.
        'cka_biased': cka(list(rows.values()), list(columns.values()), unbiased=False),
    }


def _answer(panel: Panel, images: int) -> list[str]:
    if not np.isfinite(panel.values).any():
        return [f'{panel.title}: no level has features that differ between images, so there is no CKA.']
    if panel.is_self:
        pairs = [(i, j) for i in range(len(panel.rows)) for j in range(i)]
        pairs = [(i, j) for i, j in pairs if math.isfinite(panel.values[i, j])]
        if not pairs:
            return []
        least, most = (pick(pairs, key=lambda at: panel.values[at]) for pick in (min, max))
        parts = [f'{panel.columns[j]} and {panel.rows[i]}, {panel.told(i, j)}' for i, j in (most, least)]
        told = parts[0] if most == least else f'most alike are {parts[0]}; least, {parts[1]}'
        return [f'Levels of {panel.row_model} on {images} images: {told}.']
    same = [(i, panel.columns.index(name)) for i, name in enumerate(panel.rows) if name in panel.columns]
    same = [at for at in same if math.isfinite(panel.values[at])]
    i, j = np.unravel_index(np.nanargmax(panel.values), panel.values.shape)
    sentences = [
        f'{panel.title} on {images} images: most alike are {panel.rows[i]} of the first and {panel.columns[j]} of the '
        f'second, CKA {panel.told(i, j)}.'
    ]
    if same:
        least, most = (pick(same, key=lambda at: panel.values[at]) for pick in (min, max))
        told = f'{panel.told(*least)} at {panel.rows[least[0]]}'
        told = f'from {told} to {panel.told(*most)} at {panel.rows[most[0]]}' if least != most else told
        sentences.append(f'Between levels of one name CKA is {told}.')
    return sentences


def _table(panel: Panel, sizes: Mapping[str, int]) -> Table:
    """The column that is most alike to each row, another one than itself if the model is compared with itself."""
    rows = []
    for i, name in enumerate(panel.rows):
        values = [
            -math.inf if not math.isfinite(value) or (panel.is_self and i == j) else value
            for j, value in enumerate(panel.values[i])
        ]
        j = int(np.argmax(values)) if values else 0
        cells = ['–'] * 3
        if math.isfinite(values[j]):
            cells = [panel.columns[j], f'{values[j]:.3f}', panel.interval(i, j) or '–']
        rows.append([name, f'{sizes[name]:,}', *cells])
    columns = ['level', 'features', 'most alike', 'CKA', '95% interval']
    return Table(f'CKA: {panel.title}', columns, rows)


def _notes(
    subjects: Sequence[Subject], samples: Sequence[Sample], kernels: Sequence[Mapping[str, np.ndarray | None]]
) -> list[str]:
    notes = []
    for subject, own in zip(subjects, kernels, strict=True):
        for name in (name for name, kernel in own.items() if kernel is None):
            notes.append(f'{subject.name}: {name} is the same for all images, or not finite, and has no CKA.')
    if len(samples) < LEAST_WITH_INTERVAL:
        notes.append(f'Intervals need {LEAST_WITH_INTERVAL} images, and these are {len(samples)}.')
    if len(subjects) > 1:
        notes.append(
            'Intervals are of the images alone: another training of the same model differs, too, and CKA can change '
            'much while the function hardly does (Davari et al., 2023).'
        )
    return notes


def _images(count: int) -> str:
    return '1 image was' if count == 1 else f'{count} images were'


def _unit(kernel: np.ndarray, centre: Any) -> np.ndarray | None:
    vector = centre(kernel).ravel()
    norm = np.linalg.norm(vector)
    return vector / norm if norm > _ROUNDING**2 * np.linalg.norm(kernel) else None


def _fisher(values: np.ndarray) -> np.ndarray:
    # Of a level with itself it would be infinite.
    return np.arctanh(np.clip(values, -1 + 1e-12, 1 - 1e-12))
