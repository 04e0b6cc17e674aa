"""Ground truth as people have it: what is wrong is said in one sentence, what is not needed is not demanded."""

import copy
import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask

from mmhybrid.errors import InputError
from mmhybrid.occlusion.ratios import measure
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..synthetic import SIZE, dataset
from .junk import junk, places

GT, DT = dataset(0, num_images=4, masks=True, many=False)
POLYGON = next(i for i, row in enumerate(GT['annotations']) if not row['iscrowd'])
BOTH = ('bbox', 'segm')
NAN, INF = float('nan'), float('inf')


def field(section, index, name, value):
    return lambda gt: gt[section][index].__setitem__(name, value)


def drop(section, index, name):
    return lambda gt: gt[section][index].pop(name)


def every(name, value=None):
    """The field of every annotation, or none at all."""

    def change(gt):
        for row in gt['annotations']:
            row.pop(name, None)
            if value is not None:
                row[name] = value

    return change


CASES = {
    'no images': (lambda gt: gt.update(images=[]), r"'images' is \[\]"),
    'images no list': (lambda gt: gt.update(images={}), r"'images' is \{\}"),
    'annotations missing': (lambda gt: gt.pop('annotations'), "'annotations' is missing"),
    'annotations no list': (lambda gt: gt.update(annotations={}), r"'annotations' is \{\}"),
    'no categories': (lambda gt: gt.pop('categories'), "'categories' is missing"),
    'image no object': (lambda gt: gt['images'].append(7), r'images\[4\]: 7 is not an object'),
    'image id twice': (
        lambda gt: gt['images'].append(gt['images'][0]),
        r"images\[4\] \(id \d+\): field 'id' is \d+, which repeats another record's",
    ),
    'image id missing': (drop('images', 1, 'id'), r"images\[1\]: field 'id' is missing"),
    'category id twice': (
        lambda gt: gt['categories'].append({'id': 3}),
        r"categories\[4\] \(id 3\): field 'id' is 3, which repeats another record's",
    ),
    'category id text': (field('categories', 0, 'id', 'dog'), r"categories\[0\] .*'id' is 'dog', not an integer"),
    'of no image': (field('annotations', 1, 'image_id', -4), r"annotations\[1\]: field 'image_id' is -4"),
    'of no category': (field('annotations', 1, 'category_id', 1), r"'category_id' is 1, which is no category"),
    'category huge': (field('annotations', 1, 'category_id', 10**30), r"'category_id' is .* not an integer of 64 bits"),
    'area text': (
        field('annotations', 2, 'area', '3'),
        r"annotations\[2\] \(id 102\): field 'area' is '3', not a finite number",
    ),
    'area nan': (field('annotations', 2, 'area', NAN), r"field 'area' is nan, not a finite number"),
    'area negative': (field('annotations', 2, 'area', -3), r"field 'area' is -3.0, negative"),
    'box missing': (drop('annotations', 2, 'bbox'), r"annotations\[2\] .*'bbox' is missing"),
    'box short': (field('annotations', 2, 'bbox', [1, 2, 3]), r"'bbox' is \[1, 2, 3\], not four numbers"),
    'box nan': (field('annotations', 2, 'bbox', [1, 2, NAN, 3]), r"'bbox' is .* no finite number"),
    'box infinite': (field('annotations', 2, 'bbox', [INF, 2, 2, 3]), r"'bbox' is .* no finite number"),
    'box negative': (field('annotations', 2, 'bbox', [1, 2, -2, 3]), r"'bbox' is .* negative width or height"),
    'box null': (field('annotations', 2, 'bbox', [1, 2, None, 3]), r'annotations\[2\] .*no finite number'),
    'crowd 2': (field('annotations', 2, 'iscrowd', 2), r"'iscrowd' is 2, neither 0 nor 1"),
    'ignore text': (field('annotations', 2, 'ignore', 'no'), r"'ignore' is 'no', neither 0 nor 1"),
    'no masks': (every('segmentation'), r"\d+ records, the first is annotations\[0\] .*'segmentation' is missing"),
    'empty masks': (
        every('segmentation', []),
        r'\d+ records, the first is annotations\[0\] .*missing, empty or of points and lines alone; .*segm',
    ),
    'far polygon': (field('annotations', POLYGON, 'segmentation', [[0, 0, 1e9, 0, 0, 5]]), r'far outside'),
    'polygon of text': (field('annotations', POLYGON, 'segmentation', [[0, 0, 'a', 0, 0, 5]]), r'numbers'),
    'image without height': (drop('images', 1, 'height'), r"images\[1\] .*'height' is missing"),
    'image of height 0': (field('images', 1, 'height', 0), r'images\[1\] .*height and width are \[0, 64\]'),
}


@pytest.mark.parametrize('change, sentence', CASES.values(), ids=CASES)
def test_one_sentence_for_each_mistake(change, sentence):
    gt = copy.deepcopy(GT)
    change(gt)
    with pytest.raises(InputError) as caught:
        load_ground_truth(gt, BOTH, BOTH)
    message = str(caught.value)
    assert re.search(sentence, message), message
    assert message.startswith('ground truth: ') and message.endswith('.') and '\n' not in message and '; ' in message


COUNTED = {
    'image_id': -4, 'category_id': 77, 'area': 'large', 'bbox': [1, 2], 'iscrowd': 3, 'segmentation': 'rle',
}  # fmt: skip


@pytest.mark.parametrize('name', COUNTED)
def test_records_are_counted(tmp_path, name):
    gt = copy.deepcopy(GT)
    for row in gt['annotations'][1:6:2]:
        row[name] = COUNTED[name]
    path = tmp_path / 'gt.json'
    path.write_text(json.dumps(gt))
    with pytest.raises(InputError, match=re.escape(f'{path}: 3 records, the first is annotations[1]')):
        load_ground_truth(path, BOTH, BOTH)


@pytest.mark.parametrize('arguments', [{'geometries': ('mask',)}, {'iou_types': ('keypoints',)}, {'ignore': 'maybe'}])
def test_unknown_arguments(arguments):
    with pytest.raises(InputError, match=r'unknown .*; choose from'):
        load_ground_truth(GT, **arguments)


def test_files_the_wrong_way_round():
    with pytest.raises(InputError, match='looks like a results file'):
        load_ground_truth(DT)


def same(one, other, *left_out):
    """All that is computed from, equal."""
    for name in {'annotation_image_ids', 'category_ids', 'boxes', 'areas', 'is_crowd', 'is_region', 'image_ids'}:
        if name not in left_out:
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.segmentations == other.segmentations


@pytest.mark.parametrize('ids', [range(99), [1] * 99, [None] * 99, ['x', 'y'] * 50, [10**30, *range(98)]])
def test_ids_of_annotations_do_not_matter(ids):
    gt = copy.deepcopy(GT)
    for row, new in zip(gt['annotations'], ids, strict=False):
        row['id'] = new
        if new is None:
            del row['id']
    loaded = load_ground_truth(gt, BOTH, BOTH)
    same(loaded, load_ground_truth(GT, BOTH, BOTH))
    assert len(set(loaded.annotation_ids.tolist())) == len(gt['annotations']) and loaded.notes == ()
    assert [row['id'] for row in loaded.to_coco('segm')['annotations']] == list(range(1, len(gt['annotations']) + 1))
    if ids[0] in (0, 1) and ids[1] == 1:
        assert loaded.annotation_ids[0] == ids[0] if ids[1] != ids[0] else 1


def test_areas_that_are_missing():
    gt = copy.deepcopy(GT)
    for row in gt['annotations'][1:4]:
        row['area'] = None
    loaded = load_ground_truth(gt)
    assert loaded.areas.tolist() == [row['bbox'][2] * row['bbox'][3] for row in GT['annotations']]
    assert loaded.notes == (
        f"ground truth: 3 of {len(loaded.areas)} annotations have no 'area'; width times height of the box was used "
        'for APs, APm and APl',
    )
    x, y, w, h = next(row['bbox'] for row in gt['annotations'] if not row['iscrowd'])
    gt['annotations'][POLYGON] |= {'segmentation': [[x, y, x + w, y, x, y + h]], 'area': None}
    loaded = load_ground_truth(gt, ('segm',), ('segm',))
    drawn = mask.area(mask.frPyObjects(gt['annotations'][POLYGON]['segmentation'], SIZE, SIZE))
    assert loaded.areas[POLYGON] == drawn[0] < w * h
    every('area')(gt)
    assert load_ground_truth(gt, iou_types=()).notes == ()  # nothing is evaluated
    every('area', 'none')(gt)
    assert load_ground_truth(gt, iou_types=()).notes == ()


def test_boxes_that_are_missing():
    gt = copy.deepcopy(GT)
    every('bbox')(gt)
    loaded, whole = (load_ground_truth(each, ('segm',), ('segm',)) for each in (gt, GT))
    same(loaded, whole)  # boxes of whole numbers, which masks fill
    assert loaded.notes == whole.notes == ()
    every('bbox', 'none')(gt)
    same(load_ground_truth(gt, ('segm',), ('segm',)), whole)
    for geometries, iou_types in ((('segm',), ('bbox',)), (('bbox',), ('segm',))):
        with pytest.raises(InputError, match="'bbox' is 'none', not four numbers"):
            load_ground_truth(gt, geometries, iou_types)


def test_masks_that_are_missing_match_nothing():
    gt = copy.deepcopy(GT)
    for row, value in zip(gt['annotations'][:5], ([], None, [[]], [[3, 4]], [[1, 2, 3, 4, 5]]), strict=True):
        row['segmentation'] = value
    del gt['annotations'][5]['segmentation']
    loaded = load_ground_truth(gt, BOTH, BOTH)
    assert mask.area(loaded.segmentations[:6]).tolist() == [0] * 6
    assert loaded.notes == (
        f"ground truth: 6 of {len(loaded.areas)} annotations have no 'segmentation', or one that is empty or of points "
        'and lines alone, which matches nothing',
    )
    same(load_ground_truth(gt), load_ground_truth(GT))
    assert load_ground_truth(gt).notes == ()


def test_no_annotations_are_a_result():
    for geometry in 'bbox', 'segm', 'amodal':
        loaded = load_ground_truth({**GT, 'annotations': []}, (geometry,), BOTH)
        assert loaded.notes == ('ground truth: there are no annotations',)
        assert measure(loaded, geometry=geometry).ratios == dict.fromkeys(loaded.image_ids.tolist(), 0)


FLAGS = {1: [True, 1.0, '1', 'true', np.True_], 0: [False, None, '0', 'False', '', 0.0]}


@pytest.mark.parametrize('flag, written', [(flag, each) for flag in FLAGS for each in FLAGS[flag]])
def test_flags_as_they_are_written(flag, written):
    gt, changed = copy.deepcopy((GT, GT))
    gt['annotations'][2] |= {'iscrowd': flag, 'ignore': flag}
    changed['annotations'][2] |= {'iscrowd': written, 'ignore': written}
    one, other = load_ground_truth(gt), load_ground_truth(changed)
    same(one, other)
    assert np.array_equal(one.is_ignored, other.is_ignored) and one.notes == other.notes


def test_ignored_are_regions():
    gt = copy.deepcopy(GT)
    crowds = [i for i, row in enumerate(gt['annotations']) if row['iscrowd']]
    ignored = [i for i in range(len(gt['annotations'])) if i not in crowds][:3]
    for i in [*crowds[:1], *ignored]:
        gt['annotations'][i]['ignore'] = 1
    loaded = load_ground_truth(gt)
    assert np.flatnonzero(loaded.is_region).tolist() == sorted(crowds + ignored)
    (note,) = loaded.notes
    assert f"3 of {len(loaded.areas)} instances have 'ignore' set" in note and '--ignore as-instances' in note
    assert load_ground_truth(gt, iou_types=()).notes == (note,)
    assert np.isnan(measure(loaded).fractions[ignored]).all()
    plain = load_ground_truth(gt, ignore='as-instances')
    assert np.array_equal(plain.is_region, plain.is_crowd) and plain.notes == ()
    assert measure(plain).ratios == measure(load_ground_truth(GT)).ratios


def test_text_that_cannot_be_written():
    gt = copy.deepcopy(GT)
    gt['images'][0] |= {'id': 'a\udcff', 'file_name': 'b\udcff.jpg'}
    for row in gt['annotations']:
        row['image_id'] = {GT['images'][0]['id']: 'a\udcff'}.get(row['image_id'], row['image_id'])
    gt['categories'][0]['name'] = 'c\udcff'
    loaded = load_ground_truth(gt)
    assert loaded.image_names == ['a?', *(image['id'] for image in GT['images'][1:])]
    assert (loaded.images[0]['file_name'], loaded.categories[0]['name']) == ('b?.jpg', 'c?')
    assert loaded.ids.resolve(['a\udcff'], 'x')[0].tolist() == [0]  # as results have it


def test_names_of_categories_that_are_missing():
    gt = {**GT, 'categories': [{'id': '3', 'name': None}, {'id': 7.0}, {'id': 20, 'name': 9}, {'id': 21, 'name': 'x'}]}
    loaded = load_ground_truth(gt)
    assert [(row['id'], row['name']) for row in loaded.categories] == [(3, '3'), (7, '7'), (20, '9'), (21, 'x')]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(list(places(GT))[1:]), st.booleans(), junk), min_size=1, max_size=3))
def test_no_other_error_whatever_the_file_holds(changes):
    gt = copy.deepcopy(GT)
    for path, remove, value in changes:
        try:
            target = gt
            for key in path[:-1]:
                target = target[key]
            if remove:
                del target[path[-1]]
            else:
                target[path[-1]] = value
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # an earlier change took the place away
    try:
        loaded = load_ground_truth(gt, BOTH, BOTH)
    except InputError as error:
        assert '\n' not in str(error)
    else:
        assert measure(loaded, 'covered', 'segm').ratios.keys() == set(loaded.image_ids.tolist())
        assert all(note and '\n' not in note and not note.endswith('.') for note in loaded.notes)
