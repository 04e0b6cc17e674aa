"""Redundant proposals: how many boxes compete for an instance, and what is left of them, as occlusion grows.

After Fig. 7c of the TBC article (Wang and Yu, Tied Block Convolution, 2020), which shows the many candidates that an
occluded scene leaves a detector, on single images; here they are counted for each instance.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.registry import DATASETS
from mmdet.structures.bbox import get_box_tensor

from mmhybrid.errors import InputError
from mmhybrid.occlusion import covered_fractions

from ..drawing import proposal_boxes
from ..drawing import proposals as drawing
from ..findings import Findings
from ..samples import Sample, batches, progress
from ..subjects import Subject, test_dataset
from .proposal_counts import (
    EVERY,
    STEPS,
    STRATA,
    Measured,
    count,
    known_levels,
    owners,
    stratum_of,
    summarise,
    tally,
)
from .proposal_steps import Boxes, Reader, Steps
from .proposal_words import about, level_of, notes, sentence, tables, threshold

MUCH = 0.6  # covered: what makes an image one to draw


def run(subjects: Sequence[Subject], samples: Sequence[Sample], args: argparse.Namespace) -> Findings:
    """Count the boxes of all models for the instances of the samples.

    Args:
        subjects: Detectors.
        samples: Annotated images of the first one's data set.
        args: ``score_thr``, ``iou_thr``, ``draw``, ``batch_size`` and ``seed``.

    Raises:
        InputError: If a model is no detector with NMS, or there are no instances.
    """
    readers = [Reader(subject, args.score_thr) for subject in subjects]
    maps = _class_maps(subjects)
    fractions = [covered(sample) for sample in samples]
    if not any(map(len, fractions)):
        raise InputError('The chosen images have no annotated instance that is no crowd; raise --limit.')
    shown = chosen(fractions, args.draw)
    image = np.repeat(np.arange(len(samples)), [len(each) for each in fractions])
    stratum = stratum_of(np.concatenate(fractions))
    models, drawn = [], []
    with progress(len(samples) * len(subjects), 'images') as done:
        for subject, reader, to_known in zip(subjects, readers, maps, strict=True):
            columns, capped, at = [], 0, 0
            for some in batches(samples, args.batch_size):
                batch = subject.prepare(some, annotated=True)
                found = reader(*subject.normalised(batch))
                for sample, steps, pixels, annotated in zip(some, found, batch.pixels, batch.data_samples, strict=True):
                    instances = _instances(sample, annotated, len(fractions[at]))
                    steps = _renamed(steps, to_known)
                    columns.append(count(steps, instances, args.iou_thr, reader.iou_thr, len(reader.levels)))
                    capped += steps.capped
                    if at in shown:
                        scene = _scene(subject, sample, pixels, instances, steps, fractions[at], args.iou_thr)
                        drawn.append((shown.index(at), scene))
                    at += 1
                done(len(some))
            columns = tally(columns)
            levels = known_levels(columns, stratum)
            summaries = summarise(columns, image, stratum, len(samples), args.seed)
            models.append(Measured(subject.name, reader, columns, summaries, levels, capped))
    scenes = [scene for _, scene in sorted(drawn, key=lambda each: each[0])]
    counts = np.append(np.bincount(stratum, minlength=len(STRATA)), len(stratum))
    figures = {'': drawing.plot_counts(models, counts, threshold(models)), 'boxes': proposal_boxes.plot_boxes(scenes)}
    if any(model.levels for model in models):
        figures['levels'] = drawing.plot_levels(models)
    numbers = {
        'score_thr': args.score_thr,
        'iou_thr': args.iou_thr,
        'strata': [*STRATA, EVERY],
        'instances': counts,
        'models': {model.name: _numbers(model) for model in models},
        'of_instances': {'image': image, 'covered': np.concatenate(fractions)},
    }
    return Findings(
        [sentence(model, counts) for model in models],
        about(models, args.iou_thr),
        numbers,
        figures,
        [table for model in models for table in tables(model, counts)],
        notes(models, counts, args),
    )


def covered(sample: Sample) -> np.ndarray:
    """Share (k,) of the box of each instance of an image that counts, i.e. is no crowd, which others cover."""
    boxes = np.array([each['bbox'] for each in _counted(sample)], np.float64).reshape(-1, 4)
    return covered_fractions(np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1))


def chosen(fractions: Sequence[np.ndarray], most: int) -> list[int]:
    """Indices of the images with the most instances that are covered by more than 0.6, then of those with the most
    covered one; ``most`` at most, none without instances."""
    keys = [(int((each > MUCH).sum()), float(each.max())) if len(each) else None for each in fractions]
    order = sorted((i for i, key in enumerate(keys) if key), key=lambda i: keys[i], reverse=True)
    return order[:most]


def _counted(sample: Sample) -> list[dict[str, Any]]:
    return [each for each in sample.info.get('instances', []) if not each.get('ignore_flag')]


def _instances(sample: Sample, annotated: Any, expected: int) -> Boxes:
    boxes = get_box_tensor(annotated.gt_instances.bboxes).double().cpu().numpy().reshape(-1, 4)
    if len(boxes) != expected:
        raise InputError(
            f'{sample.name}: the test pipeline of the config leaves {len(boxes)} of {expected} instances, so that they '
            'cannot be told apart; take out of it what drops instances.'
        )
    return Boxes(boxes, np.array([each['bbox_label'] for each in _counted(sample)], np.int64))


def _class_maps(subjects: Sequence[Subject]) -> list[np.ndarray | None]:
    """For each model the data set's index of each of its classes, -1 for one that the data set lacks."""
    known = DATASETS.build({**test_dataset(subjects[0].cfg), 'lazy_init': True}).metainfo.get('classes') or ()
    known = (known,) if isinstance(known, str) else tuple(known)
    maps: list[np.ndarray | None] = []
    for subject in subjects:
        if not known or not subject.classes:
            maps.append(None)
            continue
        own = np.array([known.index(name) if name in known else -1 for name in subject.classes])
        if (own < 0).all():
            raise InputError(
                f'{subject.name} tells apart {", ".join(subject.classes[:3])}, ... but no class of the data set of '
                f'{subjects[0].name}, which has {", ".join(known[:3])}, ...; compare models of the same classes.'
            )
        maps.append(own)
    return maps


def _renamed(steps: Steps, to_known: np.ndarray | None) -> Steps:
    """The steps with the data set's classes."""
    if to_known is None:
        return steps
    before, after = (
        Boxes(each.boxes, np.where(each.labels < len(to_known), to_known[each.labels.clip(0, len(to_known) - 1)], -1),
              each.scores, each.levels)
        for each in (steps.before, steps.after)
    )  # fmt: skip
    return Steps(steps.proposals, before, after, steps.capped)


def _scene(
    subject: Subject, sample: Sample, pixels: Any, instances: Boxes, steps: Steps, fractions: np.ndarray, iou_thr: float
) -> proposal_boxes.Scene:
    sizes = (instances.boxes[:, 2:] - instances.boxes[:, :2]).prod(axis=1)
    index = int(np.lexsort([sizes, fractions])[-1])  # of several, the largest
    panels = {}
    for step in STEPS:
        boxes: Boxes | None = getattr(steps, step)
        if boxes is not None:
            owner, _ = owners(boxes, instances, iou_thr)
            panels[step] = (boxes.boxes[owner == index], boxes.boxes[(owner >= 0) & (owner != index)])
    picture = pixels.detach().cpu().numpy().transpose(1, 2, 0)[..., ::-1].clip(0, 255).astype(np.uint8)
    return proposal_boxes.Scene(
        subject.name, sample.name, picture, instances.boxes, index, float(fractions[index]), panels
    )


def _numbers(model: Measured) -> dict[str, Any]:
    reader = model.reader
    return {
        'two_stages': reader.two_stages,
        'nms_iou_thr': reader.iou_thr,
        'score_thr': reader.score_thr,
        'levels': reader.levels,
        'measures': {name: vars(each) for name, each in model.summaries.items()},
        'level_shares': {
            step: {'of': level_of(model, step), 'shares': shares, 'instances': counted}
            for step, (shares, counted) in model.levels.items()
        },
        'of_instances': model.columns,
    }
