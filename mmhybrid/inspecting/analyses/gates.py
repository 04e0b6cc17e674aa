"""Gates and attention at work: what they let through on images, and how much that depends on the image.

The articles of :mod:`~mmhybrid.inspecting.analyses.gate_readers`, whose gates are there to be different from image to
image: one that is the same for all of them is no more than a fixed scale of its channels, which a norm has anyway.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmhybrid.errors import InputError

from ..drawing import gates as drawing
from ..findings import Findings, Table
from ..samples import Sample, batches, progress
from ..subjects import DETECTOR, Batch, Subject
from .gate_readers import CHANGE, GATES, MAPS, Source, sources, watched
from .gate_statistics import OPEN, SHUT, Record, inside, map_statistics


@dataclass
class Picture:
    """An image as a model saw it: ``pixels`` (H, W, 3) from 0 to 1, RGB, and what it was padded to."""

    name: str
    pixels: np.ndarray
    padded: tuple[int, int]


def read(
    subject: Subject, samples: Sequence[Sample], batch_size: int, draw: int, done=lambda n: None
) -> tuple[list[Record], list[Picture]]:
    """Show images to a model's backbone.

    Images of different sizes are not padded to a common one, which would change means over positions.

    Args:
        subject: The model.
        samples: The images.
        batch_size: How many at a time.
        draw: Of how many images the attention maps are kept.
        done: Is told how many more images are done.

    Returns:
        Records in the order in which the backbone computes them, and the first ``draw`` images.
    """
    records: dict[Source, Record] = {}
    pictures: list[Picture] = []
    annotated = subject.kind == DETECTOR and all('instances' in sample.info for sample in samples)
    boxes: list[np.ndarray] = []
    size = (0, 0)

    def take(source: Source, values: Tensor) -> None:
        record = records.setdefault(source, Record(source))
        array = values.double().cpu().numpy()
        if source.type not in MAPS:
            record.values.append(array)
            return
        for i, attention in enumerate(array):
            found = map_statistics(attention)
            if boxes:
                found['inside'], found['inside_area'] = inside(attention, boxes[i], size)
            record.maps.append(found)
            if len(record.drawn) < draw:
                record.drawn.append(attention.astype(np.float32))

    with watched(subject.backbone, take), torch.no_grad():
        for some in batches(samples, batch_size):
            for names, batch in _alike(subject.prepare(some, annotated), some):
                inputs, data_samples = subject.normalised(batch)
                size = tuple(inputs.shape[-2:])
                boxes = [_boxes(each) for each in data_samples] if annotated else []
                subject.backbone(inputs)
                for name, pixels in zip(names, batch.pixels, strict=True):
                    if len(pictures) < draw:
                        shown = pixels.flip(0).permute(1, 2, 0).clamp(0, 255) / 255
                        pictures.append(Picture(name, shown.cpu().numpy(), size))
                done(len(batch))
    return list(records.values()), pictures


def run(subjects: Sequence[Subject], samples: Sequence[Sample], args: argparse.Namespace) -> Findings:
    """Read the gates and attention maps of models on images.

    Args:
        subjects: The models.
        samples: The images.
        args: ``batch_size`` and ``draw``.

    Raises:
        InputError: If a model has none.
    """
    for subject in subjects:
        if not sources(subject.backbone):
            raise InputError(
                f'{subject.name}: {type(subject.backbone).__name__} has no gates and no attention maps here; HCGNet, '
                'SEResNet, SaEResNet, ResNeSt, TiedResNeSt and tiedsenet50 have, and plug-ins such as ContextBlock, '
                'TiedGCB and TiedSE give some to ResNet and TiedResNet.'
            )
    found, pictures = {}, {}
    with progress(len(subjects) * len(samples), 'images') as done:
        for subject in subjects:
            found[subject.name], pictures[subject.name] = read(subject, samples, args.batch_size, args.draw, done)
    modules = {name: [_as_json(record) for record in records] for name, records in found.items()}
    figures = drawing.draw(modules, _maps(found), pictures)
    summaries = {name: _stages(rows) for name, rows in modules.items()}
    return Findings(
        [sentence for name, rows in modules.items() for sentence in _sentences(name, rows)],
        'In the order of the network, one mark a module: of gates the mean with a band that holds 90% of the values of '
        'all images and channels, and how far they spread over images (full marks) and over channels (hollow); of '
        'attention its entropy over that of a plain mean, with a band over the images. Over pictures, red gets more '
        'attention than the mean and blue less.',
        {
            'types': {**{key: ' - '.join(value) for key, value in GATES.items()}, **MAPS},
            'models': {name: {'modules': modules[name], 'stages': summaries[name]} for name in modules},
        },
        figures,
        _tables(summaries),
        list(_notes(subjects, samples, modules)),
    )


def _alike(batch: Batch, samples: Sequence[Sample]) -> Iterator[tuple[list[str], Batch]]:
    """Neighbours of the same size."""
    for _, group in groupby(range(len(batch)), key=lambda i: batch.pixels[i].shape):
        chosen = list(group)
        pixels, given = ([each[i] for i in chosen] for each in (batch.pixels, batch.data_samples))
        yield [samples[i].name for i in chosen], Batch(pixels, given)


def _boxes(data_sample: Any) -> np.ndarray:
    boxes = data_sample.gt_instances.bboxes
    return getattr(boxes, 'tensor', boxes).cpu().numpy()


def _as_json(record: Record) -> dict[str, Any]:
    source = record.source
    of = {'type': source.type, 'module': source.module, 'layer': source.layer, 'stage': source.stage}
    return {**of, **record.statistics()}


def _maps(found: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, list[tuple[str, list[np.ndarray]]]]]:
    """Type -> model -> the last map of each stage by its name, of each image that is drawn."""
    chosen: dict[str, dict[str, list]] = {}
    for name, records in found.items():
        for kind in MAPS:
            last = {record.source.stage: record for record in records if record.source.type == kind}
            if last:
                pairs = [(record.source.module, record.drawn) for record in last.values()]
                chosen.setdefault(kind, {})[name] = pairs
    return chosen


def _stages(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over the modules of each type and stage, and of all stages."""
    summaries = []
    for kind in dict.fromkeys(row['type'] for row in rows):
        own = [row for row in rows if row['type'] == kind]
        for stage in [*dict.fromkeys(row['stage'] for row in own), 'all']:
            members = [row for row in own if stage in ('all', row['stage'])]
            numbers = [key for key, value in members[0].items() if isinstance(value, int | float) and key != 'stage']
            means = {key: float(np.mean([member.get(key, math.nan) for member in members])) for key in numbers}
            summaries.append({'type': kind, 'stage': stage, 'modules': len(members), **means})
    return summaries


def _tables(summaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Table]:
    changes = {
        (name, row['stage']): row['mean'] for name, rows in summaries.items() for row in rows if row['type'] == CHANGE
    }
    gates, maps = [], []
    for name, rows in summaries.items():
        prefix = f'{name}: ' if len(summaries) > 1 else ''
        for row in rows:
            stage = 'all' if row['stage'] == 'all' else str(row['stage'] or '-')
            if row['type'] in GATES:
                head = [f'{prefix}{GATES[row["type"]][0]}', stage, str(row['modules'])]
                keys = ('mean', 'std_images', 'std_channels', 'shut', 'open')
                gates.append([*head, *(_number(row[key]) for key in keys)])
            elif row['type'] in MAPS:
                head = [f'{prefix}{MAPS[row["type"]]}', stage, str(row['modules'])]
                changed = changes.get((name, row['stage']), math.nan) if row['type'] == 'context' else math.nan
                numbers = (row['entropy'], row['area'], row['peak'], row.get('lift', math.nan), changed)
                maps.append([*head, *map(_number, numbers)])
    columns = ['', 'stage', 'modules', 'mean', 'SD images', 'SD channels', f'< {SHUT}', f'> {OPEN}']
    tables = [Table('Gates, means over modules', columns, gates)] if gates else []
    if maps:
        columns = ['', 'stage', 'modules', 'entropy', 'area', 'peak', 'in boxes / area', 'change']
        used = [i for i in range(len(columns)) if any(row[i] for row in maps)]
        maps = [[row[i] for i in used] for row in maps]
        tables.append(Table('Attention, means over modules and images', [columns[i] for i in used], maps))
    return tables


def _number(value: float) -> str:
    """Three digits after the point, more of a small one, which is not 0; nothing for NaN."""
    if math.isnan(value):
        return ''
    return f'{value:.3f}' if value == 0 or abs(value) >= 0.01 else f'{value:.2g}'


def _sentences(name: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    gates, maps = [], []
    for kind in dict.fromkeys(row['type'] for row in rows):
        own = [row for row in rows if row['type'] == kind]

        def mean(key: str, own=own) -> float:
            return float(np.mean([row[key] for row in own]))

        if kind in GATES:
            words = f'{GATES[kind][0]} ({GATES[kind][1]}) of {len(own)} modules {_number(mean("mean"))}'
            if not math.isnan(mean('std_images')):
                words += f', with a standard deviation of {_number(mean("std_images"))} over images'
            gates.append(f'{words} and {_number(mean("std_channels"))} over channels')
        elif kind in MAPS:
            words = f'{MAPS[kind]} of {len(own)} modules spread as evenly as over {100 * mean("area"):.0f}% of the map'
            lifts = [row['lift'] for row in own if 'lift' in row]
            maps.append(words + (f', {np.mean(lifts):.2f} times the mean inside boxes' if lifts else ''))
    if gates:
        yield f'{name}, on average: {"; ".join(gates)}.'
    if maps:
        yield f'{name}, attention on average: {"; ".join(maps)}.'


def _notes(
    subjects: Sequence[Subject], samples: Sequence[Sample], modules: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[str]:
    for subject in subjects:
        still = [row for row in modules[subject.name] if row['type'] == CHANGE and row['mean'] == 0]
        if still:
            yield (
                f'{subject.name}: {len(still)} global context blocks change nothing, as where training starts: what '
                'they are given, or their last convolution, is zero.'
            )
        gated = [m for m in subject.backbone.modules() if getattr(m, 'residual_gate', False)]
        if gated:
            yield f'{subject.name} multiplies channels by 1 + s, not by s (residual_gate).'
    if any(row['type'] == 'split' for rows in modules.values() for row in rows):
        yield 'Split attention: of two maps the second has what the first lacks to 1; 1 / R of R maps is an even share.'
    if len(samples) == 1:
        yield 'One image tells nothing of how gates differ between images.'
    if len(subjects) > 1:
        yield (
            f'{len(subjects)} models on {len(samples)} images: other images and other seeds of training differ, too, '
            'so that small differences between models say nothing.'
        )
