"""Reports about results."""

import copy
import json
import pickle

import numpy as np

from . import forms
from .base import corners, plain
from .table import SEGM, row

row('35 counts are the repr of bytes', *SEGM, named=[r"b'"])(forms.DT_MASKS["b'...'"])


@row('18 ids are floats', quiet=True)
def _(files):
    forms.IMAGE_IDS['floats in the results'](files)
    forms.CATEGORY_IDS['floats in the results'](files)


@row('02 stems of file names as ids')
def _(files):
    forms.FILE_NAMES['in a folder'](files)
    for record in files.dt:
        record['file_name'] = f'street_{record["image_id"]:03}.jpg'
        record['image_id'] = f'street_{record["image_id"]:03}'


@row('07 no detections', notes=[])
def _(files):
    files.dt = []
    return files.gt, []


@row('08 polygons in results', *SEGM)
def _(files):
    shapes = [corners(record['bbox']) for record in files.dt]
    for record, shape in zip(files.dt, shapes, strict=True):
        record['segmentation'] = [shape]
    return files.gt, copy.deepcopy(files.dt)


@row('17 results in an object', named=['predictions'])
def _(files):
    files.dt = {'predictions': files.dt}


@row('17b results by image', named=['image'])
def _(files):
    files.dt = forms.by_image(files.dt)


@row('57 boxes, labels and scores an image', named=['boxes', 'labels|scores'])
def _(files):
    files.dt = forms.boxes_labels_scores(files.dt)


@row('20 corners in results', notes=['corner'])
def _(files):
    for record in files.dt:
        x, y, w, h = record['bbox']
        record['bbox'] = [x, y, x + w, y + h]
    return files.gt, copy.deepcopy(files.dt)


@row('24 results of some images', notes=[r'\b9 of (the )?12 images'])
def _(files):
    files.dt = [record for record in files.dt if record['image_id'] <= 3]
    return files.gt, copy.deepcopy(files.dt)


@row('26b class indices, 0 left out', notes=['categor|class'])
def _(files):
    files.dt = [record | {'category_id': record['category_id'] - 1} for record in files.dt if record['category_id'] > 1]
    right = plain(files.gt, files.dt)
    assert right['ap50'] == 0
    return files.gt, copy.deepcopy(files.dt)


def _packed(suffix, pack):
    def change(files):
        files.results = (f'dt.json{suffix}',)
        files.write(files.results[0], pack(json.dumps(files.dt).encode()))

    return change


row('31 bzip2', named=['bz2|bzip2'])(_packed('.bz2', forms.CONTAINERS['.bz2']))
row('31b xz', named=['xz'])(_packed('.xz', forms.CONTAINERS['.xz']))
row('31d Zstandard', named=['zst'])(_packed('.zst', forms.zstandard))
row('31d not a frame of Zstandard but its mark', named=['zst'], read=False)(
    _packed('.zst', lambda content: b'\x28\xb5\x2f\xfd' + np.random.default_rng(0).bytes(2000))
)


@row('32 JSON lines', named=['lines'])
def _(files):
    files.write('dt.jsonl', forms.json_lines(files.dt))
    files.results = ('dt.jsonl',)


@row('40 scores in percent', '--errors', notes=['score'])
def _(files):
    for record in files.dt:
        record['score'] *= 100
    return copy.deepcopy((files.gt, files.dt))


def crowded(files):
    """150 objects in each of two images, and a detector that finds all."""
    boxes = [[13 * (at % 15), 16 * (at // 15), 8, 8] for at in range(150)]
    files.gt['images'] = files.gt['images'][:2]
    files.gt['annotations'] = [
        {'id': 2 * at + image, 'image_id': image, 'category_id': 1, 'bbox': box, 'area': 64, 'iscrowd': 0}
        for at, box in enumerate(boxes)
        for image in (1, 2)
    ]
    scores = np.random.default_rng(0).permutation(300) / 300
    files.dt = [
        {'image_id': each['image_id'], 'category_id': 1, 'bbox': each['bbox'], 'score': float(score)}
        for each, score in zip(files.gt['annotations'], scores, strict=True)
    ]
    return copy.deepcopy((files.gt, files.dt))


row('41 150 objects an image', notes=[r'\b100\b'])(crowded)


@row('58 shards, merged', '--merge', quiet=True)
def _(files):
    files.write('dt.json', [record for record in files.dt if record['image_id'] % 2])
    files.write('dt_rank1.json', [record for record in files.dt if not record['image_id'] % 2])
    files.results = ('dt.json', 'dt_rank1.json')


@row("72 Detectron2's .pth, broken", named=[r'\.pth|torch|Detectron2'], read=False)
def _(files):
    files.write('instances_predictions.pth', b'PK\x03\x04' + bytes(50))
    files.results = ('instances_predictions.pth',)


@row('83 a pickled list of results', named=['pickle'])
def _(files):
    files.write('cocolist.pkl', pickle.dumps(files.dt))
    files.results = ('cocolist.pkl',)


@row('83 predictions of MMDetection 2', named=['MMDetection 2|mmdet'])
def _(files):
    files.write('mmdet2.pkl', pickle.dumps(mmdet2(files)))
    files.results = ('mmdet2.pkl',)


def mmdet2(files):
    """One list an image, with an ``(n, 5)`` array of corners and score for each category."""
    rows = [[[] for _ in files.gt['categories']] for _ in files.gt['images']]
    for record in files.dt:
        x, y, w, h = record['bbox']
        rows[record['image_id'] - 1][record['category_id'] - 1].append([x, y, x + w, y + h, record['score']])
    return [[np.array(each, dtype=np.float32).reshape(-1, 5) for each in image] for image in rows]
