"""The images that models are shown: pictures that were named, or some of the config's test data set."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from mmdet.registry import DATASETS

from mmhybrid import launch
from mmhybrid.datasets._workers import progress_reporter
from mmhybrid.errors import InputError
from mmhybrid.predicting.pictures import find as find_pictures

from .subjects import Subject, test_dataset

Item = TypeVar('Item')


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        name: Its file's, to be shown.
        info: What a data set tells a pipeline of it: ``img_path``, and where they are known ``img_id``, ``instances``
            (MMDetection's: ``bbox`` x0 y0 x1 y1, ``bbox_label``, ``mask``, ``ignore_flag``) or ``label``.
    """

    name: str
    info: dict[str, Any]

    @property
    def path(self) -> str:
        """The file."""
        return self.info['img_path']

    @property
    def image_id(self) -> Any:
        """The data set's id of the image."""
        return self.info['img_id']


def find(subject: Subject, args: argparse.Namespace, annotated: bool) -> list[Sample]:
    """The images that ``args`` name, else ``args.limit`` of the subject's test data set, drawn by ``args.seed``.

    Args:
        subject: Whose data set is taken.
        args: ``images``, ``limit`` and ``seed``.
        annotated: Whether annotations are needed, so that pictures alone do not do.

    Raises:
        InputError: If there are none.
    """
    if args.images:
        named = [source for source in find_pictures(args.images) if not source.is_video]
        if not named:
            raise InputError('--images names videos alone; give pictures.')
        infos = [dict(img_path=str(source.path), img_id=i) for i, source in enumerate(named, 1)]
        return [Sample(source.given, info) for source, info in zip(named, infos, strict=True)]
    if subject.cfg is None:
        raise InputError(
            f'{subject.given} is a backbone, which has no data set: name pictures with --images, or give the config of '
            'a detector or classifier.'
            if not annotated
            else f'{subject.given} is a backbone, which has no annotated images: give a config and its checkpoint.'
        )
    launch.check_data(subject.cfg, 'test')
    with contextlib.redirect_stdout(sys.stderr):
        dataset = DATASETS.build({**test_dataset(subject.cfg), 'test_mode': True})
    if not len(dataset):
        raise InputError('The test data set of the config is empty; name pictures with --images.')
    rng = np.random.default_rng(args.seed)
    chosen = np.sort(rng.permutation(len(dataset))[: args.limit])
    infos = [dataset.get_data_info(int(i)) for i in chosen]
    if annotated and not any('instances' in info or 'label' in info for info in infos):
        raise InputError('The test data set of the config has no annotations, which are needed here; give another.')
    return [Sample(str(info['img_path']).replace('\\', '/').rpartition('/')[2], info) for info in infos]


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Some at a time, in order."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


@contextmanager
def progress(total: int, unit: str):
    """As a context: a function that is told how many more are done; a bar or lines on stderr."""
    with progress_reporter(max(total, 1), unit, enabled=True) as done:
        yield done
