"""Reports about ground truth."""

import copy
import math

import numpy as np
import pytest

from . import forms
from .base import HEIGHT, WIDTH, encoded, plain, uncompressed
from .table import BOTH, SEGM, row

row('01 image ids are text', quiet=True)(forms.IMAGE_IDS['text'])
row('04 annotation ids from 0', quiet=True)(forms.ANNOTATION_IDS['from 0'])
row('05 no area', notes=['area'])(forms.no_area)
row('39d sizes of images are floats', *SEGM, quiet=True)(forms.FIELDS['sizes of images as floats'])


@row('46 export of Label Studio', quiet=True)
def _(files):
    forms.FILE_NAMES['in a folder of Windows'](files)
    for change in (forms.IMAGE_IDS, forms.CATEGORY_IDS, forms.ANNOTATION_IDS):
        change['from 0'](files)
    for annotation in files.gt['annotations']:
        annotation |= {'segmentation': [], 'ignore': 0}


@row('09 empty segmentations, boxes evaluated', quiet=True)
def _(files):
    for annotation in files.gt['annotations'][:10:5]:
        annotation['segmentation'] = []


@row(
    '09 empty segmentations, masks evaluated',
    *BOTH,
    notes=[r'\b2\b.*(segmentation|mask)'],
    named=['2 ', 'segmentation'],
)
def _(files):
    gt, dt = copy.deepcopy((files.gt, files.dt))
    nothing = {'size': [HEIGHT, WIDTH], 'counts': [HEIGHT * WIDTH]}
    for annotation, mask in zip(files.gt['annotations'][:10:5], gt['annotations'][:10:5], strict=True):
        annotation['segmentation'] = []
        mask['segmentation'] = nothing
    return gt, dt


@row('11 federated fields of LVIS', notes=['federated|neg_category_ids'])
def _(files):
    for image in files.gt['images']:
        del image['file_name']
        image |= {
            'neg_category_ids': [1],
            'not_exhaustive_category_ids': [2],
            'coco_url': f'http://x/{image["id"]:012}.jpg',
        }
    for category in files.gt['categories']:
        category |= {'frequency': 'c', 'synset': 'a.n.01', 'image_count': 3, 'instance_count': 5}
    for annotation in files.gt['annotations']:
        annotation['iscrowd'] = 0
    gt = copy.deepcopy(files.gt)
    for annotation in files.gt['annotations']:
        del annotation['iscrowd']
    return gt, files.dt


@row('14 odgt of CrowdHuman', named=['CrowdHuman|odgt'])
def _(files):
    ids = {i: f'273271,{i:05}' for i in range(1, 13)}
    lines = []
    for image in files.gt['images']:
        of_image = [each for each in files.gt['annotations'] if each['image_id'] == image['id']]
        people = [
            {'tag': 'person', 'hbox': [1, 2, 3, 4], 'vbox': each['bbox'], 'fbox': each['bbox'], 'extra': {'occ': 0}}
            | ({'tag': 'mask', 'extra': {'ignore': 1}} if each['iscrowd'] else {})
            for each in of_image
        ]
        lines.append({'ID': ids[image['id']], 'gtboxes': people})
    for record in [*files.gt['annotations'], *files.dt]:
        record['category_id'] = 1
    gt, dt = copy.deepcopy((files.gt, files.dt))
    for record in files.dt:
        record['image_id'] = ids[record['image_id']]
    files.write('annotation_val.odgt', forms.json_lines(lines))
    files.ann = 'annotation_val.odgt'
    return gt, dt


@row('38b a polygon with a point behind it', *SEGM, notes=[r'\b1\b.*polygon'])
def _(files):
    files.gt['annotations'][1]['segmentation'].append([5.0, 6.0])
    return copy.deepcopy((files.gt, files.dt))


@row('66 a polygon outside the image', *SEGM, notes=[r'outside|leave|beyond|no (pixel|area)|empty'])
def _(files):
    files.gt['annotations'][1]['segmentation'] = [[-300, -300, -250, -300, -250, -250]]
    return copy.deepcopy((files.gt, files.dt))


@row('44 ground truth without boxes', *SEGM, '--geometry', 'segm', quiet=True)
def _(files):
    forms.no_boxes_in_ground_truth(files)


@row('51 areas are of masks where masks are evaluated', *SEGM, quiet=True)
def _(files):
    size = [40, 30]  # more than 32 x 32 as a box, less as a mask
    image = files.gt['images'][0]['id']
    thin = [[10, 10, 50, 10, 50, 18, 18, 18, 18, 40, 10, 40]]
    area = int(np.sum(uncompressed(encoded(thin))['counts'][1::2]))
    assert area < 1024 < size[0] * size[1]
    files.gt['annotations'] = [
        {
            'id': 1,
            'image_id': image,
            'category_id': 1,
            'bbox': [10, 10, *size],
            'area': area,
            'iscrowd': 0,
            'segmentation': thin,
        }
    ]
    there = {'image_id': image, 'category_id': 1, 'bbox': [10, 10, *size], 'score': 0.5, 'segmentation': encoded(thin)}
    wrong = there | {'bbox': [90, 90, *size], 'score': 0.75, 'segmentation': encoded([[x + 80 for x in thin[0]]])}
    files.gt['images'] = files.gt['images'][:1]
    files.dt = [wrong, there]
    right = plain(files.gt, files.dt, 'segm')
    assert right['aps'] < 0.6  # the false one is small, too; by its box's area it would not count
    return copy.deepcopy((files.gt, files.dt))


@row('75e an HTML page for ground truth', named=['^error: FILE', 'HTML'], read=False)
def _(files):
    files.write('gt.json', '<!DOCTYPE html><html><body>404</body></html>')


def unspeakable(files):
    """Text that UTF-8 cannot hold."""
    files.gt['images'][0]['file_name'] = 'bad\udcff.jpg'
    files.gt['categories'][0]['name'] = 'x\udcffy'
    return copy.deepcopy((files.gt, files.dt))


row('77 text that UTF-8 cannot hold', '--full', '--bootstrap', '20', '--format', 'json', 'csv', 'md')(unspeakable)


@row('82 a perfect detector and `ignore`', notes=[r'\b12\b.*ignore'])
def ignored(files):
    places = [[10, 20, 30, 60], [50, 20, 30, 60], [90, 20, 30, 60], [130, 20, 60, 120]]
    files.gt['annotations'] = [
        {'id': 4 * image + at, 'image_id': image, 'category_id': 1, 'bbox': box, 'area': box[2] * box[3], 'iscrowd': 0}
        | {'ignore': int(at == 3)}
        for image in range(1, 13)
        for at, box in enumerate(places)
    ]
    files.dt = [
        {'image_id': image, 'category_id': 1, 'bbox': box, 'score': 0.9 - at / 100 + image / 10000}
        for image in range(1, 13)
        for at, box in enumerate([*places[:3], [140, 30, 40, 100]])
    ]
    files.dt = [record | {'score': 0.95} if record['bbox'][0] == 140 else record for record in files.dt]
    gt = copy.deepcopy(files.gt)
    for annotation in gt['annotations']:
        annotation['iscrowd'] = annotation['ignore']
    assert plain(gt, files.dt)['ap'] == pytest.approx(1) and plain(files.gt, files.dt)['ap'] < 0.9
    assert not math.isnan(plain(gt, files.dt)['ar'])
    return gt, copy.deepcopy(files.dt)
