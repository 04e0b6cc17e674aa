"""Fields that are absent, empty or of other forms: not demanded where not needed, else counted."""

import copy
import json
import math

import numpy as np
import pytest
from pycocotools import mask

from .base import HEIGHT, WIDTH, Files, corners, encoded, plain, uncompressed
from .outcomes import assert_named, assert_noted, assert_plain, assert_same

SEGM = ('--iou-type', 'segm')


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def test_area_is_null(files):
    for annotation in files.gt['annotations']:
        annotation['area'] = None
    outcome = files.run('eval')
    assert_same(outcome)
    assert_noted(outcome.notes, r'area')


def test_area_is_absent_in_some_and_counted(files):
    for annotation in files.gt['annotations'][2:5]:
        del annotation['area']
    outcome = files.run('eval')
    assert_same(outcome)
    assert_noted(outcome.notes, r'\b3 of (the )?49\b.*area|area.*\b3 of (the )?49\b')


def test_area_of_boxes_without_masks(files):
    """Boxes of no whole numbers, whose product is the area."""
    for annotation in files.gt['annotations']:
        del annotation['segmentation']
        annotation['bbox'] = [value * 0.93 for value in annotation['bbox']]
        annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
    right = plain(files.gt, files.dt)
    for annotation in files.gt['annotations']:
        del annotation['area']
    outcome = files.run('eval')
    assert_plain(outcome, right)
    assert_noted(outcome.notes, 'area')


def test_area_of_masks_where_masks_are_evaluated(files):
    """Half of each box: sizes are others than those of boxes."""
    for annotation in files.gt['annotations']:
        x, y, w, h = annotation['bbox']
        annotation |= {'segmentation': [[x, y, x + w, y, x, y + h]], 'iscrowd': 0}
        (area,) = mask.area(mask.frPyObjects([list(map(float, annotation['segmentation'][0]))], HEIGHT, WIDTH))
        annotation['area'] = int(area)
    right = plain(files.gt, files.dt, 'segm')
    by_box = copy.deepcopy(files.gt)
    for annotation in by_box['annotations']:
        annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
    assert plain(by_box, files.dt, 'segm')['apm'] != right['apm']
    for annotation in files.gt['annotations']:
        del annotation['area'], annotation['bbox']
    outcome = files.run('eval', *SEGM, '--geometry', 'segm')
    assert_plain(outcome, right)
    assert_noted(outcome.notes, 'area')


@pytest.mark.parametrize('area', ['large', [1], math.nan, -4, True])
def test_area_that_is_none(files, area):
    for annotation in files.gt['annotations'][2:5]:
        annotation['area'] = area
    assert_named(files.run('eval'), r'\b3 (records|annotations)', r'annotations\[2\]', 'area')


@pytest.mark.parametrize('empty', [None, [], 'absent'])
def test_boxes_are_not_demanded_for_masks(files, empty):
    for record in [*files.gt['annotations'][::2], *files.dt]:
        record['bbox'] = empty
        if empty == 'absent':
            del record['bbox']
    assert_same(files.run('eval', *SEGM, '--geometry', 'segm'), *SEGM, '--geometry', 'segm')


@pytest.mark.parametrize('box', [None, [], 'absent', [1, 2, 3], [1, 2, 3, 4, 0.5], '1,2,3,4', [1, 2, 'a', 4], {'x': 1}])
@pytest.mark.parametrize('side', ['annotations', 'results'])
def test_boxes_that_are_none_are_counted(files, box, side):
    records = files.dt if side == 'results' else files.gt['annotations']
    for record in records[1:3]:
        record['bbox'] = box
        if box == 'absent':
            del record['bbox']
    assert_named(files.run('eval'), r'\b2 (records|annotations|detections)', rf'{side}\[1\]', 'bbox')


@pytest.mark.parametrize('score', [None, 'absent', 'high', math.nan, math.inf, [0.5], True])
def test_scores_that_are_none_are_counted(files, score):
    for record in files.dt[1:4]:
        record['score'] = score
        if score == 'absent':
            del record['score']
    assert_named(files.run('eval'), r'\b3 (records|detections)', r'results\[1\]', 'score')


def test_faults_are_counted_over_a_whole_file(files):
    """Or at least over what was read at a time, and then it says so."""
    files.dt = [{name: each[name] for name in ('image_id', 'category_id', 'bbox', 'score')} for each in files.dt * 400]
    for at in (5, 2_000, 22_000):
        files.dt[at]['score'] = None
    assert_named(files.run('eval'), r'(\b3|at least [12]) (records?|detections?)', r'results\[5\]', 'score')


@pytest.mark.parametrize('detections', [0, 57])
def test_no_annotations_are_a_result(files, detections):
    files.gt['annotations'], files.dt = [], files.dt[:detections]
    outcome = files.run('eval', '--full', '--bootstrap', '10')
    stratum = outcome.results[0]['strata'][0]
    assert (stratum['num_images'], stratum['num_instances'], stratum['ap'], stratum['ar']) == (12, 0, None, None)
    assert files.ratio().code == 0


def test_annotations_are_missing(files):
    """As in the lists of test images that COCO publishes."""
    del files.gt['annotations']
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, 'annotations')
    else:
        assert_noted(outcome.notes, 'no annotations')


def test_few_fields_of_images_and_categories(files):
    files.gt['images'] = [{'id': image['id']} for image in files.gt['images']]
    files.gt['categories'] = [{'id': category['id']} for category in files.gt['categories']]
    for annotation in files.gt['annotations']:
        del annotation['segmentation']
    assert_same(files.run('eval'))


RUBBISH = [
    None,
    [],
    {},
    '',
    [[]],
    [[5.0]],
    [1, 2, 3],
    'rle',
    [[1, 2, 3, 'x', 5, 6]],
    {'size': [1, 1], 'counts': '?'},
    7,
]


@pytest.mark.parametrize('rubbish', RUBBISH, ids=repr)
def test_segmentations_do_not_matter_to_boxes(files, rubbish):
    for record in [*files.gt['annotations'][::2], *files.dt[::3]]:
        record['segmentation'] = rubbish
    outcome = files.run('eval')
    assert_same(outcome)
    assert outcome.notes == []


@pytest.mark.parametrize('rubbish', RUBBISH, ids=repr)
@pytest.mark.parametrize('side', ['annotations', 'results'])
def test_segmentations_that_are_none_are_counted(files, rubbish, side):
    records = files.dt if side == 'results' else files.gt['annotations']
    empty = [record for record in records if not record.get('iscrowd')][1:3]
    for record in empty:
        record['segmentation'] = rubbish
    outcome = files.run('eval', *SEGM)
    if outcome.code == 2:
        assert_named(outcome, r'\b2 (records|annotations|detections)', 'segmentation')
        return
    assert_noted(outcome.notes, r'\b2\b.*(segmentation|polygon|mask)')
    for record in empty:
        record['segmentation'] = {'size': [HEIGHT, WIDTH], 'counts': [HEIGHT * WIDTH]}
    assert_plain(outcome, plain(files.gt, files.dt, 'segm'))


ODD = {
    'an odd tail': lambda shape: [[*shape, shape[0]]],
    'closed': lambda shape: [[*shape, *shape[:2]]],
    'whole numbers': lambda shape: [[round(value) for value in shape]],
    'two parts': lambda shape: [shape, [3, 3, 9, 3, 9, 12]],
    'a part outside': lambda shape: [shape, [300.0, 300, 320, 300, 320, 320]],
    'a line beside': lambda shape: [shape, [5.0, 6.0, 50.0, 60.0]],
    'beyond the border': lambda shape: [[value + 70 for value in shape]],
    'negative': lambda shape: [[value - 60 for value in shape]],
    'crossing itself': lambda shape: [[*shape[:2], *shape[4:6], *shape[2:4], *shape[6:]]],
}


@pytest.mark.parametrize('side', ['annotations', 'results'])
@pytest.mark.parametrize('kind', ODD)
def test_polygons_are_what_pycocotools_makes_of_them(files, kind, side):
    for record in (files.dt if side == 'results' else files.gt['annotations'])[1:9:3]:
        record |= {'segmentation': ODD[kind](corners(record['bbox'])), **({'iscrowd': 0} if side != 'results' else {})}
    outcome = files.run('eval', *SEGM)
    assert_plain(outcome, plain(files.gt, files.dt, 'segm'))
    if kind in ('closed', 'whole numbers', 'two parts', 'crossing itself'):
        assert outcome.notes == []
    if kind == 'an odd tail':
        assert_noted(outcome.notes, r'\b3\b.*polygon|polygon.*\b3\b')


SWAPPED = {'size': [WIDTH, HEIGHT], 'counts': [0, 40, WIDTH * HEIGHT - 40]}


@pytest.mark.parametrize(
    'rle', [SWAPPED, SWAPPED | {'size': [HEIGHT, WIDTH], 'counts': [5]}, {'counts': [5]}], ids=repr
)
@pytest.mark.parametrize('side', ['annotations', 'results'])
def test_run_lengths_that_do_not_fit_are_counted(files, rle, side):
    records = files.dt if side == 'results' else files.gt['annotations']
    for record in records[3:5]:
        record['segmentation'] = rle
    assert_named(files.run('eval', *SEGM), r'\b2 (records|annotations|detections)', rf'{side}\[3\]', 'segmentation')


def test_flags(files):
    """`iscrowd` absent, null and as text of digits."""
    for annotation in files.gt['annotations']:
        annotation['iscrowd'] = 0
    right = plain(files.gt, files.dt)
    for annotation in files.gt['annotations']:
        del annotation['iscrowd']
    outcome = files.run('eval')
    assert_plain(outcome, right)
    assert outcome.notes == []


@pytest.mark.parametrize('flag', ['maybe', 2, 0.5, [1]])
def test_flags_that_are_none_are_counted(files, flag):
    for annotation in files.gt['annotations'][1:3]:
        annotation['iscrowd'] = flag
    assert_named(files.run('eval'), r'\b2 (records|annotations)', r'annotations\[1\]', 'iscrowd')


def amodal(files, fields):
    """Half of every third instance is hidden; ``fields`` makes an instance's fields of box and visible box.

    Returns:
        Image id -> its right ratio.
    """
    hidden, whole = np.zeros(13), np.zeros(13)
    for position, annotation in enumerate(files.gt['annotations']):
        x, y, w, h = annotation['bbox']
        visible = [x, y, w // 2, h] if position % 3 == 1 else [x, y, w, h]
        whole[annotation['image_id']] += w * h
        hidden[annotation['image_id']] += w * h - visible[2] * h
        kept = {'id': annotation['id'], 'image_id': annotation['image_id'], 'category_id': 1, 'iscrowd': 0}
        files.gt['annotations'][position] = kept | fields(annotation['bbox'], visible)
    return {str(image): hidden[image] / whole[image] for image in range(1, 13)}


def _invisible(box, visible):
    x, y, w, h = box
    return encoded([corners([x + visible[2], y, w - visible[2], h])])


LAYOUTS = {
    'KINS 2019': lambda a, v: (
        {'bbox': a, 'area': a[2] * a[3], 'segmentation': [corners(a)]}
        | {'inmodal_bbox': v, 'inmodal_seg': encoded([corners(v)])}
    ),
    'KINS 2020': lambda a, v: {'a_bbox': a, 'a_segm': [corners(a)], 'i_bbox': v, 'i_segm': [corners(v)], 'a_area': 9},
    'COCOA in the form of COCO': lambda a, v: (
        {'bbox': a, 'area': a[2] * a[3], 'segmentation': [corners(a)]}
        | ({} if a == v else {'visible_mask': encoded([corners(v)]), 'invisible_mask': _invisible(a, v)})
    ),
    'D2SA': lambda a, v: (
        {'bbox': a, 'area': a[2] * a[3], 'segmentation': encoded([corners(a)]), 'occlude_rate': 0.1}
        | {'visible_mask': uncompressed(encoded([corners(v)]))}
    ),
    'KINS 2020, visible only if hidden': lambda a, v: (
        {'a_bbox': a, 'a_segm': [corners(a)]} | ({} if a == v else {'i_bbox': v, 'i_segm': [corners(v)]})
    ),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_amodal_layouts(files, layout):
    right = amodal(files, LAYOUTS[layout])
    table = files.folder / 'r.json'
    outcome = files.ratio('--ratio', 'invisible', '--out', str(table))
    assert outcome.code == 0, outcome.err
    got = {str(each['image_id']): each['value'] for each in json.loads(table.read_text())['values']}
    assert got == pytest.approx(right, rel=1e-12) and sum(value > 0 for value in got.values()) > 6
