"""A folder as a reader has it: a fresh clone, or none but a wheel, with tiny data under the names of the pages."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image

from mmhybrid.datasets.occluded_shapes import generate
from tests.occlusion import pedestrians
from tests.occlusion.amodal_sets import ground_truth, scene
from tests.occlusion.crowds import crowd

from .commands import DEMO, REPO

MMHYBRID = '#!/bin/sh\nexec python -m mmhybrid "$@"\n'
# What srun would start on each machine, once.
SRUN = """#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -p) shift 2;; --*) shift;; *) break;; esac; done
SLURM_PROCID=0 SLURM_NTASKS=1 SLURM_NODELIST=localhost exec "$@"
"""


def clone(target: Path) -> None:
    """What a clone would have once all that is not ignored is committed."""
    words = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    listed = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=True).stdout.split('\0')
    for name in filter(None, listed):
        if (REPO / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, target / name)


def run(line: str, folder: Path, package: Path, place: Path) -> subprocess.CompletedProcess:
    """Run a line in a shell, with ``python`` this one, mmhybrid that of a folder and the files of a place."""
    path = os.pathsep.join([str(place / 'bin'), str(Path(sys.executable).parent), os.environ['PATH']])
    env = {
        **os.environ,
        'PATH': path,
        'PYTHONPATH': str(package),
        'OMP_NUM_THREADS': '1',
        'PLACE': str(place),
        'PORT': _free_port(),
    }
    return subprocess.run(['bash', '-c', line], cwd=folder, env=env, capture_output=True, text=True)


def _free_port() -> str:
    with socket.socket() as bound:
        bound.bind(('127.0.0.1', 0))
        return str(bound.getsockname()[1])


def before(line: str, place: Path) -> None:
    """The results of the benchmark that a line is about, where two share a name."""
    preset = re.search(r'--preset (\w+)', line)
    if preset and (place / f'{preset[1]}.json').is_file():
        shutil.copy(place / f'{preset[1]}.json', place / 'model.json')


def furnish(folder: Path) -> None:
    """Write what the pages' commands take."""
    for name, text in (('mmhybrid', MMHYBRID), ('srun', SRUN)):
        script = folder / 'bin' / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(text)
        script.chmod(0o755)
    shapes = folder / 'work_dirs' / 'demo' / 'occluded_shapes'
    generate(shapes, {'train': 8, 'val': 6}, size=128, progress=False)
    _coco(shapes, folder)
    _occlusion(folder)
    seed0 = folder / 'work_dirs' / 'demo' / 'seed0'
    seed0.mkdir()
    torch.save({'state_dict': MODELS.build(Config.fromfile(REPO / DEMO).model).state_dict()}, seed0 / 'epoch_1.pth')


def furnish_more(folder: Path) -> None:
    """What the long commands take besides."""
    shapes = folder / 'work_dirs' / 'demo' / 'occluded_shapes'
    shutil.copytree(shapes / 'val', folder / 'photos')
    shutil.copytree(shapes, folder / 'data' / 'occluded_shapes')
    rng = np.random.default_rng(0)
    for part in ('train', 'val'):
        for number in range(8):
            pictures = folder / 'data' / 'imagenet' / part / f'class{number}'
            pictures.mkdir(parents=True)
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(pictures / '0.jpg')
    resnet = MODELS.build(dict(type='ResNet', depth=50)).state_dict()
    classifier = {'fc.weight': torch.zeros(1000, 2048), 'fc.bias': torch.zeros(1000)}
    torch.save({**resnet, **classifier}, folder / 'resnet50-0676ba61.pth')
    own = folder / 'data' / 'own'
    own.mkdir()
    for part in ('train', 'val'):
        shutil.copytree(shapes / part, own / part)
        coco = json.loads((shapes / 'annotations' / f'instances_{part}.json').read_text())
        coco['categories'] = [dict(id=1, name='shape')]
        coco['annotations'] = [row | dict(category_id=1) for row in coco['annotations']]
        (own / f'{part}.json').write_text(json.dumps(coco))
    shutil.copy(REPO / 'examples' / 'own_data' / 'config.py', folder)


def _coco(shapes: Path, folder: Path) -> None:
    """The shapes with the folders and categories of COCO, and results for them."""
    root = folder / 'data' / 'coco'
    (root / 'annotations').mkdir(parents=True)
    for part in ('train', 'val'):
        (root / f'{part}2017').symlink_to(shapes / part)
        coco = json.loads((shapes / 'annotations' / f'instances_{part}.json').read_text())
        coco['categories'] = [dict(id=i, name=name) for i, name in enumerate(CocoDataset.METAINFO['classes'], 1)]
        (root / 'annotations' / f'instances_{part}2017.json').write_text(json.dumps(coco))
    (folder / 'val2017').symlink_to(shapes / 'val')
    shutil.copy(root / 'annotations' / 'instances_val2017.json', folder)
    found = [
        {key: row[key] for key in ('image_id', 'category_id', 'bbox')} | dict(score=round(1 / (2 + i % 7), 3))
        for i, row in enumerate(coco['annotations'])
    ]
    for step, name in enumerate(('my_model', 'tied', 'r50'), 1):
        (folder / f'{name}.bbox.json').write_text(json.dumps(found[::step]))


def _occlusion(folder: Path) -> None:
    """Small sets of the benchmarks' kinds; the ids of the two that share the name of their results do not meet."""
    gt, dt = pedestrians.dataset(4, 'citypersons')
    (folder / 'val_gt.json').write_text(json.dumps(gt))
    (folder / 'citypersons.json').write_text(json.dumps(dt))
    gt, dt = pedestrians.dataset(8, 'kaist')
    (folder / 'KAIST_annotation.json').write_text(json.dumps(gt))
    place = {image_id: i for i, image_id in enumerate(sorted(image['id'] for image in gt['images']), 1)}
    rows = [[place[row['image_id']], *row['bbox'], row['score']] for row in dt if row['category_id'] == 1]
    (folder / 'MBNet_result.txt').write_text(''.join(','.join(map(str, row)) + '\n' for row in rows))
    lines, records = crowd(7, 30)
    (folder / 'annotation_val.odgt').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    (folder / 'crowdhuman.json').write_text(json.dumps(records))
    rows, dt = scene(1, num_images=8)
    (folder / 'kins_val.json').write_text(json.dumps(ground_truth(rows, 'KINS 2020')))
    (folder / 'model.segm.json').write_text(json.dumps(dt))
