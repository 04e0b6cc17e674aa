"""The theoretical and the effective receptive field of each level of a backbone and a neck.

Paper: W. Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks", arXiv
1701.04128: the gradient of the feature in the middle of a map with respect to the pixels, averaged over images.
Our choices: the feature's channels are summed with random signs, squares are averaged over images and summed over
colours, and the effective size is the side of the square around the centre of mass that holds 50% and 95% of the root.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmhybrid.errors import InputError
from mmhybrid.text import plural

from ..findings import Findings, Table
from ..samples import Sample, batches, progress
from ..subjects import Subject
from .activation_maps import stride_of
from .backward import fixed_weights
from .fields import (
    SHARES,
    Field,
    common_size,
    limiting,
    middle_crop,
    middle_of,
    random_signs,
    reached_pixels,
    squared_gradient,
)

_HALF, _MOST = SHARES


def measure(
    levels_of: Callable[[Tensor], Mapping[str, Tensor]],
    inputs: Iterator[Tensor],
    chosen: Sequence[str] = (),
    seed: int = 0,
    done: Callable[[int], None] = lambda count: None,
    shape: tuple[int, int] | None = None,
    model: str = 'the model',
) -> list[Field]:
    """Receptive fields of levels, of the feature in the middle of those that see the picture.

    Args:
        levels_of: Maps (N, C, H', W') of images, by level.
        inputs: Batches (N, 3, H, W) of images, all of one size.
        chosen: Levels; all if empty.
        seed: Of the signs of the channels.
        done: Is told how many images more are done.
        shape: Height and width of the pictures at the top left of the images, the rest of which pads them; padding is
            left out of the fields. The whole images if None.
        model: Its name, for errors.

    Raises:
        InputError: If a level is not there.
    """
    squares: dict[str, Tensor] = {}
    middles: dict[str, tuple[int, int]] = {}
    reached: dict[str, np.ndarray] = {}
    strides: dict[str, int] = {}
    count = 0
    for images in inputs:
        if not count:
            first = images[:1].detach().clone().requires_grad_()
            padded = tuple(first.shape[-2:])
            height, width = shape or padded
            for name, level in _pick(levels_of(first), chosen, model).items():
                cells = tuple(level.shape[-2:])
                middles[name] = middle_of(cells, padded, shape)
                reached[name] = reached_pixels(level, first, middles[name])[:height, :width].cpu().numpy()
                # Of the longer side, where what the layers do at the borders matters least.
                strides[name] = max(1, round(stride_of(cells, padded)[int(padded[1] >= padded[0])]))
        images = images.detach().clone().requires_grad_()
        for place, (name, level) in enumerate(_pick(levels_of(images), chosen, model).items()):
            signs = [random_signs(level.shape[1], seed, count + i, place) for i in range(len(images))]
            square = squared_gradient(level, images, torch.stack(signs), middles[name])[:height, :width]
            squares[name] = squares.get(name, 0) + square
        count += len(images)
        done(len(images))
    return [
        Field(name, strides[name], (square / count).sqrt().cpu().numpy(), reached[name])
        for name, square in squares.items()
    ]


def _pick(levels: Mapping[str, Tensor], chosen: Sequence[str], model: str) -> dict[str, Tensor]:
    for name in chosen:
        if name not in levels:
            raise InputError(f'{model} has no level {name!r}: --levels takes {", ".join(levels)}.')
    return {name: levels[name] for name in dict.fromkeys(chosen or levels)}


def run(subjects: Sequence[Subject], samples: Sequence[Sample], args: argparse.Namespace) -> Findings:
    """Measure the receptive fields of each model's levels, and draw sizes and maps."""
    from ..drawing.receptive_field import draw_maps, draw_sizes

    shapes = [[tuple(subject.prepare([sample]).pixels[0].shape[-2:]) for subject in subjects] for sample in samples]
    size = common_size([shape for own in shapes for shape in own], args.size)
    found: dict[str, list[Field]] = {}
    with progress(len(subjects) * len(samples), 'images') as done:
        for subject in subjects:
            with fixed_weights(subject.model):
                inputs = _inputs(subject, samples, size, args.batch_size)
                name, levels = subject.name, subject.levels
                found[name] = measure(levels, inputs, args.levels, args.seed, done, size, name)
    return Findings(
        answer=[_sentence(name, fields) for name, fields in found.items()],
        about='The darker a pixel, the more the feature in the middle of the level changes with it: root mean square '
        f'of the gradient over {plural(len(samples), "image")}, its square root as colour, so that what is far shows. '
        'Dashed is the theoretical field, cut off by the picture; the squares, cut off likewise, hold 95% and 50% '
        'of the gradient, and by level are drawn the sides of squares of equal area, in pixels as the model is shown '
        'them.',
        numbers=_numbers(found, size, len(samples), args),
        figures={'': draw_sizes(found), 'maps': draw_maps(found)},
        tables=[_table(name, fields) for name, fields in found.items()],
        notes=list(_notes(subjects, samples, found, size, shapes, args.size)),
    )


def _inputs(subject: Subject, samples: Sequence[Sample], size: tuple[int, int], batch_size: int) -> Iterator[Tensor]:
    for some in batches(samples, batch_size):
        batch = subject.prepare(some)
        yield subject.normalised(batch, [middle_crop(pixels, size) for pixels in batch.pixels])[0]


def _area_share(field: Field) -> float:
    """Area of the square of 95%, as far as the picture goes, as a part of the theoretical field's; NaN without one."""
    return (field.side(_MOST) / field.theoretical) ** 2 if field.theoretical else float('nan')


def _sentence(name: str, fields: Sequence[Field]) -> str:
    told = [field for field in fields if field.magnitude.any()]
    if not told:
        return f'{name}: no gradient reaches the pixels from any level.'
    sizes = ', '.join(
        f'{field.level} {field.side(_MOST):.0f} ({field.theoretical:.0f}{" or more" if field.clipped else ""})'
        for field in told
    )
    return (
        f'{name}: size in pixels (root of the area) of the square that holds {100 * _MOST:.0f}% of the gradient, and '
        f'of the theoretical field: {sizes}.'
    )


def _table(name: str, fields: Sequence[Field]) -> Table:
    rows = []
    for field in fields:
        x0, y0, x1, y1 = field.box
        rows.append([
            field.level, str(field.stride), f'{">= " if field.clipped else ""}{x1 - x0} x {y1 - y0}',
            *(f'{field.side(share):.0f}' if field.magnitude.any() else '–' for share in (_MOST, _HALF)),
            f'{100 * _area_share(field):.0f}' if field.magnitude.any() else '–',
        ])  # fmt: skip
    head = ['level', 'stride', 'theoretical (px)', '95% (px)', '50% (px)', '95% of area (%)']
    return Table(f'{name}: receptive field', head, rows)


def _numbers(
    found: Mapping[str, Sequence[Field]], size: tuple[int, int], images: int, args: argparse.Namespace
) -> dict[str, Any]:
    def of(field: Field) -> dict[str, Any]:
        total = max(field.magnitude.sum(), np.finfo(float).tiny)
        return {
            'level': field.level, 'stride': field.stride, 'theoretical_box': field.box, 'clipped': field.clipped,
            'theoretical_side': field.theoretical, 'reached_pixels': int(field.reached.sum()),
            'side_50': field.side(_HALF), 'side_95': field.side(_MOST), 'area_share': _area_share(field),
            'square_50': field.square(_HALF), 'square_95': field.square(_MOST),
            'centre': field.centre, 'sigmas': field.sigmas,
            'profile_x': field.magnitude.sum(0) / total, 'profile_y': field.magnitude.sum(1) / total,
        }  # fmt: skip

    models = {name: [of(field) for field in fields] for name, fields in found.items()}
    return {'height': size[0], 'width': size[1], 'images': images, 'size': args.size, 'models': models}


def _notes(
    subjects: Sequence[Subject],
    samples: Sequence[Sample],
    found: Mapping[str, Sequence[Field]],
    size: tuple[int, int],
    shapes: Sequence[Sequence[tuple[int, int]]],
    most: int,
) -> Iterator[str]:
    small = limiting(shapes, most)
    if small is not None:
        height, width = common_size(shapes[small], most)
        yield (
            f'Of all images the middle {size[1]} x {size[0]} pixels are taken, much less than --size {most}, since '
            f'{samples[small].name} allows no more than {width} x {height}; leave it out to look at more of the others.'
        )
    if any(field.clipped for fields in found.values() for field in fields):
        yield (
            f'A theoretical field that touches the border of the {size[1]} x {size[0]} pixels may be larger, and the '
            'effective one too; a gate or an attention over the whole map makes it the whole picture.'
        )
    if not all(field.magnitude.any() for fields in found.values() for field in fields):
        yield 'From a level marked – no gradient reaches the pixels, so it has no effective size.'
    if len(subjects) > 1:
        yield (
            f'One checkpoint of each model is compared, on {plural(len(samples), "image")}; whether the architecture '
            'matters, several seeds tell.'
        )
