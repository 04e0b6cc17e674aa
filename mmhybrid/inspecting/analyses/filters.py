"""How alike the filters of a layer are: cosine similarity of their guided back-propagation patterns or their weights.

Paper: X. Wang, S. X. Yu, "Tied Block Convolution: Leaner and Better CNNs with Shared Thinner Filters", arXiv
2009.12021, figures 1 and 9: histograms of the pairwise similarities of a layer's filters, for layers of several depths.
Our choices: a filter's response is the positive part of what it gives after the norm that follows it, summed over
positions (``--reduce sum``); its pattern is the guided gradient of that with respect to the pixels; a pair's similarity
is the mean over the images to which both filters respond. Where no norm takes a convolution's output, it is the output.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from mmhybrid.errors import InputError
from mmhybrid.text import plural

from ..findings import Findings, Table
from ..samples import Sample, batches, progress
from ..subjects import BACKBONE, Batch, Subject
from .filter_patterns import default_layers, is_convolution
from .filter_similarity import BINS, HIGH, Layer, choose, pattern_similarity, weight_similarity

FEW = 8  # filters, of which a histogram tells little


def run(subjects: Sequence[Subject], samples: Sequence[Sample], args: argparse.Namespace) -> Findings:
    """Compare the filters of each model's layers, and draw histograms, matrices and the course over depth."""
    from ..drawing.filters import draw_matrices, draw_similarity

    names = [_layer_names(subject, args) for subject in subjects]
    if args.by == 'weights':
        found = {subject.name: _by_weights(subject, own, args) for subject, own in zip(subjects, names, strict=True)}
    else:
        total = sum(_compared(each, own, args) for each, own in zip(subjects, names, strict=True)) * len(samples)
        with progress(total, 'patterns') as done:
            found = {
                subject.name: _by_patterns(subject, samples, own, args, done)
                for subject, own in zip(subjects, names, strict=True)
            }
    figures = {'': draw_similarity(found, args.by), 'matrices': draw_matrices(found, args.by)}
    compared = (
        'weights' if args.by == 'weights' else f'guided back-propagation patterns, {plural(len(samples), "image")}'
    )
    return Findings(
        answer=[_sentence(name, layers) for name, layers in found.items()],
        about=f'Above: mean |cosine similarity| of pairs of filters ({compared}) against the depth of their layer, '
        'with quartiles. Below: the histogram of a layer’s pairs, 1 for filters that respond to the same, 0 for '
        'unrelated ones; the matrices show each pair, grey what cannot be compared.',
        numbers=_numbers(found, args),
        figures=figures,
        tables=[_table(name, layers) for name, layers in found.items()],
        notes=list(_notes(subjects, found, samples, args)),
    )


def _layer_names(subject: Subject, args: argparse.Namespace) -> list[str]:
    if not args.layers:
        prefix = '' if subject.kind == BACKBONE else 'backbone.'
        found = [prefix + name for name in default_layers(subject.backbone, args.by)]
        if not found:
            raise InputError(f'{subject.name} has no convolution above 1x1 in its backbone; name --layers.')
        return found
    names = list(dict.fromkeys(_own_name(subject, name) for name in args.layers))
    for name in names:
        module = subject.module(name)
        if args.by == 'weights' and not is_convolution(module):
            raise InputError(
                f'{name} of {subject.name} is no convolution but {type(module).__name__}: it has no filters.'
            )
    return names


def _own_name(subject: Subject, name: str) -> str:
    """A module's name within the model; a lone backbone has it without ``backbone.`` before."""
    known = {own for own, _ in subject.model.named_modules()}
    return name.removeprefix('backbone.') if subject.kind == BACKBONE and name not in known else name


def _compared(subject: Subject, names: Sequence[str], args: argparse.Namespace) -> int:
    """How many filters that are; as good as exact, for the progress alone."""
    widths = [getattr(subject.module(name), 'out_channels', None) for name in names]
    # Modules that are no convolutions may call something else so; of a backbone it is a tuple.
    return sum(min(args.filters, width) if isinstance(width, int) else args.filters for width in widths)


def _by_weights(subject: Subject, names: Sequence[str], args: argparse.Namespace) -> list[Layer]:
    layers = []
    for place, (name, depth) in enumerate(zip(names, _depths(subject, names), strict=True)):
        module = subject.module(name)
        filters = module.weight.shape[0]
        chosen = choose(filters, args.filters, args.seed, place)
        layers.append(Layer(name, depth, filters, chosen, weight_similarity(module, chosen)))
    return layers


def _by_patterns(
    subject: Subject,
    samples: Sequence[Sample],
    names: Sequence[str],
    args: argparse.Namespace,
    done: Callable[[int], None],
) -> list[Layer]:
    def inputs():
        for some in batches(samples, args.batch_size):
            batch = subject.prepare(some)
            images = [shrunk(image, args.side) for image in batch.pixels]
            for part in of_one_size(images):
                own = Batch([images[i] for i in part], [batch.data_samples[i] for i in part])
                yield own.pixels, lambda pixels, of=own: _look(subject, of, pixels)

    found = pattern_similarity(subject.model, inputs(), names, args.filters, args.seed, args.reduce, done)
    depths = _depths(subject, names)
    return [
        Layer(name, depth, filters, chosen, similarity, normed)
        for name, depth, similarity, filters, chosen, normed in zip(names, depths, *found, strict=True)
    ]


def _look(subject: Subject, batch: Batch, pixels: Sequence[Tensor]) -> None:
    inputs, _ = subject.normalised(batch, pixels)
    subject.levels(inputs)


def of_one_size(images: Sequence[Tensor]) -> list[list[int]]:
    """Which images may be one batch: those of one size.

    Others would be padded to the largest one's, and what a filter responds to there counted as if it were the image's.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        groups[tuple(image.shape)].append(i)
    return list(groups.values())


def shrunk(image: Tensor, side: int) -> Tensor:
    """An image (3, H, W), bilinearly shrunk so that neither side is above ``side``; itself where none is."""
    longer = max(image.shape[-2:])
    if longer <= side:
        return image
    size = [max(1, round(each * side / longer)) for each in image.shape[-2:]]
    return F.interpolate(image[None], size, mode='bilinear', align_corners=False, antialias=True)[0]


def _depths(subject: Subject, names: Sequence[str]) -> list[float]:
    order = [name for name, module in subject.modules(nn.Module).items() if is_convolution(module)]
    places = {name: i / max(len(order) - 1, 1) for i, name in enumerate(order)}
    return [places.get(name, float('nan')) for name in names]


def _sentence(name: str, layers: Sequence[Layer]) -> str:
    told = [(layer, layer.summary()) for layer in layers if len(layer.pairs)]
    if not told:
        return f'{name}: no two filters could be compared.'
    (first, one), (last, other) = told[0], told[-1]
    shares = f'above {HIGH} are {100 * one["share_high"]:.0f}% and {100 * other["share_high"]:.0f}% of the pairs'
    if len(told) == 1:
        return f'{name}: the mean |similarity| of two filters of {first.short} is {one["mean"]:.2f}.'
    return (
        f'{name}: the mean |similarity| of two filters is {one["mean"]:.2f} in {first.short} and {other["mean"]:.2f} '
        f'in {last.short}; {shares}.'
    )


def _table(name: str, layers: Sequence[Layer]) -> Table:
    rows = []
    for layer in layers:
        made = layer.summary()
        numbers = [f'{made[key]:.3f}' for key in ('mean', 'median')] + [f'{100 * made["share_high"]:.1f}']
        compared = len(layer.chosen) - len(layer.dead)
        rows.append([
            layer.short, f'{layer.depth:.2f}', f'{compared} of {layer.filters}', str(len(layer.pairs)),
            *(numbers if len(layer.pairs) else ['–'] * 3),
        ])  # fmt: skip
    head = ['layer', 'depth', 'compared', 'pairs', 'mean', 'median', f'> {HIGH} (%)']
    return Table(f'{name}: |cosine similarity| of two filters', head, rows)


def _numbers(found: Mapping[str, Sequence[Layer]], args: argparse.Namespace) -> dict[str, Any]:
    def of(layer: Layer) -> dict[str, Any]:
        return {
            'name': layer.name, 'depth': layer.depth, 'filters': layer.filters, 'chosen': layer.chosen,
            'dead': layer.dead, 'pairs': len(layer.pairs), **layer.summary(), 'counts': layer.counts,
            'density': layer.density, 'normed': layer.normed, 'similarity': np.round(layer.similarity, 4),
        }  # fmt: skip

    options = {'by': args.by, 'filters': args.filters, 'reduce': args.reduce, 'side': args.side, 'high': HIGH}
    return {
        **options,
        'bins': BINS,
        'models': {name: [of(layer) for layer in layers] for name, layers in found.items()},
    }


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:3]) + (', …' if len(names) > 3 else '')


def _notes(
    subjects: Sequence[Subject], found: Mapping[str, Sequence[Layer]], samples: Sequence[Sample], args: Any
) -> Iterator[str]:
    if args.by == 'weights':
        modules = [module for subject in subjects for module in subject.modules(nn.Module).values()]
        if any(is_convolution(module) and getattr(module, 'blocks', 1) > 1 for module in modules):
            yield 'A tied block convolution shares each filter over its blocks; by weights it counts once.'
    else:
        yield (
            f'Patterns are of {plural(len(samples), "image")}, at most {args.side} pixels a side, and of at most '
            f'{args.filters} filters of a layer; other images give other numbers.'
        )
    for name, layers in found.items():
        dead = sum(len(layer.dead) for layer in layers)
        if dead:
            of = sum(len(layer.chosen) for layer in layers)
            why = 'have only zeros as weights' if args.by == 'weights' else 'respond to none of the images'
            yield f'{name}: {dead} of {of} filters {why}, and are left out.'
        raw = [layer.short for layer in layers if layer.normed is False]
        if raw:
            yield (
                f'{name}: of {len(raw)} of {len(layers)} layers ({_some(raw)}) no norm takes the output directly, so a '
                'filter counts as active where the convolution’s own output is positive.'
            )
        few = [layer.short for layer in layers if len(layer.chosen) - len(layer.dead) < FEW]
        if few:
            yield (
                f'{name}: in {len(few)} of {len(layers)} layers fewer than {FEW} filters are compared, so few pairs '
                'make the histogram.'
            )
    if len(subjects) > 1:
        yield 'One checkpoint of each model is compared; whether the architecture matters, several seeds tell.'
