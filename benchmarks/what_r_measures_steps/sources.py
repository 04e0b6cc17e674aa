"""Public data sets with annotated occlusion, read from the user's own copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.occlusion import ratios
from mmhybrid.occlusion.read.checks import Records
from mmhybrid.occlusion.read.files import read_json
from mmhybrid.occlusion.read.ground_truth import GroundTruth, load_ground_truth
from mmhybrid.occlusion.read.properties import read_property

LABELS = {'low': 0, 'mid': 1, 'high': 2}  # of COCO-OLAC, in their order
HEAVY = 0.8  # hidden share from which on an instance is asked whether anything annotated covers it


class Annotated(NamedTuple):
    """Ground truth and what people, or amodal masks, say of its occlusion.

    Attributes:
        gt: n annotations on I images.
        geometries: Whose overlap is measured.
        hidden: ``(n,)`` hidden share or level of each instance, NaN where it is not known; None if images have labels.
        labels: ``(I,)`` of the images; None if instances have shares.
        wider: ``(n,)`` covered fraction of each box where ignored instances cover too; None if none has been read.
        heavy: From which value of ``hidden`` on an instance is heavily hidden.
    """

    gt: GroundTruth
    geometries: tuple[str, ...]
    hidden: np.ndarray | None = None
    labels: np.ndarray | None = None
    wider: np.ndarray | None = None
    heavy: float = HEAVY


class Source(NamedTuple):
    """A data set.

    Attributes:
        title: Its name.
        part: What part of it is read.
        images: How many images that part has, to tell a sample; None if any number will do.
        annotated: What is annotated.
        heavily: What heavily hidden instances are called.
        read: Reads files by the options' names.
        needs: Further options.
    """

    title: str
    part: str
    images: int | None
    annotated: str
    heavily: str
    read: Callable[[Mapping[str, Path]], Annotated]
    needs: tuple[str, ...] = ()


def _shares(option: str) -> Callable[[Mapping[str, Path]], Annotated]:
    def read(files: Mapping[str, Path]) -> Annotated:
        gt = _boxes(files[option], wanted='visibility')
        if 'visibility' not in gt.attributes:
            raise InputError(f'{files[option]}: only masks tell the visible share; give it as --kins or --shapes.')
        return Annotated(gt, ('bbox',), 1 - gt.attributes['visibility'], wider=_wider(files[option]))

    return read


def _kaist(files: Mapping[str, Path]) -> Annotated:
    gt = _boxes(files['kaist'], wanted='level')
    levels = gt.attributes['level']
    return Annotated(gt, ('bbox',), levels, wider=_wider(files['kaist']), heavy=2)


def _olac(files: Mapping[str, Path]) -> Annotated:
    gt, geometries = _boxes(files['coco']), ('bbox',)
    rows = read_json(files['coco'], 'ground truth')['annotations']
    if any(row.get('segmentation') for row in rows):
        geometries = ('bbox', 'segm')
        gt = _boxes(files['coco'], geometries)
    given = read_property(gt, files['olac']).values
    if unknown := sorted({str(value) for value in given.values()} - LABELS.keys()):
        raise InputError(f'{files["olac"]}: has the label {unknown[0]!r}; give labels out of {", ".join(LABELS)}.')
    return Annotated(gt, geometries, labels=np.array([LABELS[value] for value in given.values()]))


def _crowdpose(files: Mapping[str, Path]) -> Annotated:
    gt = _boxes(files['crowdpose'])
    records = Records(str(files['crowdpose']), 'images', gt.images)
    remedy = "give the annotations of CrowdPose, whose images have a 'crowdIndex'"
    return Annotated(gt, ('bbox',), labels=records.numbers('crowdIndex', remedy))


def _amodal(option: str) -> Callable[[Mapping[str, Path]], Annotated]:
    def read(files: Mapping[str, Path]) -> Annotated:
        gt = _boxes(files[option], ('bbox', 'amodal'))
        return Annotated(gt, ('bbox', 'amodal'), ratios.measure(gt, 'invisible', 'amodal').fractions)

    return read


def _boxes(
    path: Path, geometries: tuple[str, ...] = ('bbox',), ignore: str = 'region', wanted: str | None = None
) -> GroundTruth:
    return load_ground_truth(path, geometries, (), ignore, {wanted: None} if wanted else {})


def _wider(path: Path) -> np.ndarray:
    return ratios.measure(_boxes(path, ignore='as-instances')).fractions


SHARE = f'at least {HEAVY:.0%} hidden'
SOURCES = {
    'citypersons': Source(
        'CityPersons', 'its validation set', 500, 'visible share of each person', SHARE, _shares('citypersons')
    ),
    'kaist': Source(
        'KAIST', 'its test set', 2252, 'level of each person: none, partial, heavy', 'of level heavy', _kaist
    ),
    'crowdhuman': Source(
        'CrowdHuman', 'its validation set', 4370, 'visible and whole box of each person', SHARE, _shares('crowdhuman')
    ),
    'kins': Source('KINS', '', None, 'visible and amodal mask of each instance', SHARE, _amodal('kins')),
    'shapes': Source(
        'Occluded shapes', 'the synthetic validation set', 500, 'visible and amodal mask of each instance',
        SHARE, _amodal('shapes'),
    ),
    'olac': Source('COCO-OLAC', 'val2017', 5000, 'label of each image: low, mid, high', '', _olac, ('coco',)),
    'crowdpose': Source('CrowdPose', 'its test set', 8000, 'crowd index of each image', '', _crowdpose),
}  # fmt: skip
