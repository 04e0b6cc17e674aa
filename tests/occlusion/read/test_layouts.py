"""Layouts other than COCO's: CrowdHuman is read, COCOA's first one named, amodal masks under every name."""

import copy
import gzip
import json

import numpy as np
import pytest
from pycocotools import mask

from mmhybrid.errors import InputError
from mmhybrid.occlusion.ratios import measure
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.read.segmentations import AMODAL_FIELDS

from ..synthetic import SIZE, dataset, rectangle

GT, _ = dataset(3, num_images=9, masks=True, many=False)


def person(fbox, tag='person', **extra):
    return {'tag': tag, 'hbox': [1, 2, 3, 4], 'vbox': [0, 0, 1, 1], 'fbox': fbox, 'extra': extra, 'head_attr': {}}


LINES = [
    {'ID': '273271,1b9330008da38cd6', 'gtboxes': [person([-9, 2, 30, 40], occ=1), person([6, 2, 30, 40], ignore=0)]},
    {'ID': '0007', 'gtboxes': [person([0, 0, 9, 9], ignore=1), person([5, 5, 9, 9], 'mask'), person([50, 5, 9, 9])]},
    {'ID': 'empty', 'gtboxes': []},
]


@pytest.mark.parametrize('packed', [False, True])
def test_crowdhuman(tmp_path, packed):
    path = tmp_path / ('val.odgt.gz' if packed else 'val.odgt')
    text = '\n'.join(map(json.dumps, LINES)).encode() + b'\n\n'
    path.write_bytes(gzip.compress(text) if packed else text)
    loaded = load_ground_truth(path)
    assert loaded.image_names == [line['ID'] for line in LINES]
    assert loaded.boxes.tolist() == [each['fbox'] for line in LINES for each in line['gtboxes']]
    assert loaded.is_region.tolist() == [False, False, True, True, False]
    assert [row['name'] for row in loaded.categories] == ['person']
    assert list(measure(loaded).ratios.values()) == [0.5, 0, 0]
    assert loaded.ids.resolve(['0007.jpg', 'empty.jpg'], 'dt.json')[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"ID": "a", "gtboxes": []}\n{"id": "b"}', r"image 2 is \{'id': 'b'\}, without 'ID', and 'gtboxes'"),
        ('[1]', 'ground truth must be a JSON object'),
        ('{"ID": "a", "gtboxes": []}\n[1]', r'image 2 is \[1\], without'),
        ('{"ID": "a", "gtboxes": [{"tag": "person"}]}', 'image 1 is'),
        ('{"ID": "a", "gtboxes": [3]}', 'image 1 is'),
        ('{"ID": "a", "gtboxes": [{"tag": "person", "fbox": [1, 2]}]}', "'bbox' is .*not four numbers"),
        ('{"ID": ["a"], "gtboxes": []}', "'id' is .*neither an integer .*nor text"),
        ('{"ID": "a", "gtboxes": []}\n{"ID": "a", "gtboxes": []}', "'id' is 'a', which repeats another record's"),
        ('{"ID": "a", "gtboxes": []}\n\n{"ID"', r'not valid JSON \(line 3: Expecting'),
        ('\n', 'it is empty'),
    ],
)
def test_lines_that_are_not_of_crowdhuman(tmp_path, text, message):
    path = tmp_path / 'x.odgt'
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_ground_truth(path)
    assert str(path) in str(caught.value)


def test_the_first_layout_of_cocoa_is_named():
    region = {'segmentation': [1, 1, 9, 1, 9, 9], 'order': 1, 'occlude_rate': 0.0, 'name': 'dog', 'isStuff': 0}
    gt = {'images': GT['images'], 'annotations': [{'id': 1, 'image_id': 1, 'regions': [region], 'author': 'x'}]}
    for geometry in 'bbox', 'amodal':
        with pytest.raises(InputError, match=r"COCOA's original layout.*give COCOA with COCO's categories"):
            load_ground_truth(gt, (geometry,), ())


def with_pair(amodal, visible):
    """Ground truth whose visible masks are the left half of the whole ones."""
    gt = copy.deepcopy(GT)
    for row in gt['annotations']:
        x, y, width, height = row['bbox']
        row.pop('segmentation')
        row[visible] = rectangle([x, y, width // 2, height])
        row[amodal] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    return gt


@pytest.mark.parametrize('amodal, visible', AMODAL_FIELDS)
def test_amodal_masks_under_each_name(amodal, visible):
    gt = with_pair(amodal, visible)
    loaded = load_ground_truth(gt, ('amodal',), ())
    assert loaded.segmentations is None and loaded.sizes.shape == (len(gt['images']), 2)
    assert loaded.amodal_segmentations == [row[amodal] for row in gt['annotations']]
    widths = [row['bbox'][2] // 2 for row in gt['annotations']]
    assert mask.toBbox(loaded.visible_segmentations)[:, 2].tolist() == widths
    every = copy.deepcopy(gt)
    for row in every['annotations']:
        row.pop('bbox')
        row.pop('area')
    assert (
        measure(load_ground_truth(every, ('amodal',), ()), 'invisible', 'amodal').ratios
        == measure(loaded, 'invisible', 'amodal').ratios
    )


def test_amodal_and_segm_together():
    loaded = load_ground_truth(with_pair('amodal_segmentation', 'segmentation'), ('bbox', 'segm', 'amodal'))
    assert loaded.segmentations == loaded.visible_segmentations
    assert loaded.amodal_segmentations != loaded.visible_segmentations


def counted(gt):
    return [row for row in gt['annotations'] if not row['iscrowd']]


@pytest.mark.parametrize('absent', ['absent', None])
def test_who_has_no_visible_mask_is_visible(absent):
    """The layout is that of the file: here most instances, and the first, have one of its fields alone."""
    gt = with_pair('segmentation', 'visible_mask')
    rows = counted(gt)
    for row in rows:
        if row is not rows[5]:
            row['visible_mask'] = absent
            if absent:
                del row['visible_mask']
    rows[7]['visible_mask'] = []  # no pixel of it is visible
    found = measure(load_ground_truth(gt, ('amodal',), ()), 'invisible', 'amodal').fractions
    width = rows[5]['bbox'][2]
    assert found[~np.isnan(found)].tolist() == [0] * 5 + [1 - width // 2 / width, 0, 1] + [0] * (len(rows) - 8)


def test_crowds_do_not_decide_on_the_layout():
    gt = with_pair('a_segm', 'i_segm')
    crowd = next(row for row in gt['annotations'] if row['iscrowd'])
    crowd['amodal_segmentation'] = crowd['segmentation'] = [[0, 0, 5, 0, 5, 5]]
    del crowd['a_segm']
    loaded = load_ground_truth(gt, ('amodal',))
    assert loaded.amodal_segmentations[gt['annotations'].index(counted(gt)[0])] == counted(gt)[0]['a_segm']


def test_missing_amodal_masks():
    count = len(counted(GT))
    with pytest.raises(
        InputError, match=rf"{count} records, .*has no amodal and visible mask, .*'a_segm' and 'i_segm'"
    ):
        load_ground_truth(GT, ('amodal',))
    gt = with_pair('a_segm', 'i_segm')
    rows = counted(gt)
    del rows[-1]['a_segm'], rows[-3]['a_segm']
    at = gt['annotations'].index(rows[-3])
    with pytest.raises(InputError, match=rf"2 records, the first is annotations\[{at}\] .*'a_segm' is missing"):
        load_ground_truth(gt, ('amodal',))
    gt = with_pair('a_segm', 'i_segm')
    gt['annotations'][-1]['i_segm'] = {'size': [SIZE, SIZE], 'counts': 'oo'}
    with pytest.raises(InputError, match="field 'i_segm' has counts that do not fill"):
        load_ground_truth(gt, ('amodal',))
    gt['annotations'][-1]['i_segm'] = [[0, 0, 1e7, 0, 5, 5]]
    with pytest.raises(InputError, match=r"field 'i_segm' is .* far outside"):
        load_ground_truth(gt, ('amodal',))


FILES = {
    'missing': (None, 'no such file'),
    'empty': (b'', r'not valid JSON \(it is empty\); give'),
    'cut': (b'{"images": [', 'not valid JSON'),
    'binary': (b'\x89PNG\r\n\x1a\n\xff\xfe\xfa', 'is a picture'),
    'deep': (b'[' * 200_000, 'not valid JSON'),
    'half a gzip': (gzip.compress(b'[]' * 99)[:15], 'cannot be read'),
    'no gzip': (b'\x1f\x8bhello world, hello world', 'cannot be read'),
    'number': (b'3', 'must be a JSON|no list of results|results'),
    'null': (b'null', 'must be a JSON|no list of results|results'),
}


@pytest.mark.parametrize('content, sentence', FILES.values(), ids=FILES.keys())
@pytest.mark.parametrize('side', ['ground truth', 'results'])
def test_unreadable_files(tmp_path, side, content, sentence):
    path = tmp_path / 'broken.json'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf'{path}.*({sentence})') as caught:
        load_ground_truth(path) if side == 'ground truth' else load_detections(path, load_ground_truth(GT))
    assert str(caught.value).count(str(path)) == 1
