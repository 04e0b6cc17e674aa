"""What was annotated of each instance: visible shares, levels and heights, as data sets write them."""

import json
import math

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.attributes import LEVELS, SHARES, VISIBLE_BOXES
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.selection import Selection


def content(rows, box=(10, 10, 20, 40)):
    """Ground truth of one annotation a row of fields."""
    annotations = [{'id': i, 'image_id': 1, 'category_id': 1, 'bbox': list(box)} | row for i, row in enumerate(rows, 1)]
    images = [{'id': 1, 'height': 60, 'width': 60, 'file_name': 'a.jpg'}]
    return {'images': images, 'categories': [{'id': 1, 'name': 'person'}], 'annotations': annotations}


def read(rows, ignore='region', **wanted):
    return load_ground_truth(content(rows), wanted=wanted, ignore=ignore)


def values(gt, name='visibility'):
    return gt.attributes[name].tolist()


@pytest.mark.parametrize('field', SHARES)
def test_a_field_with_the_share_itself(field):
    gt = read([{field: 0.25}, {field: 1}, {field: 0}, {field: 1.04}], visibility=None)
    assert values(gt) == [0.25, 1, 0, 1]  # rounding made the last
    assert gt.origins['visibility'] == f"'{field}'"


@pytest.mark.parametrize('field', VISIBLE_BOXES)
def test_a_field_with_the_visible_box(field):
    boxes = [[10, 10, 20, 40], [10, 30, 20, 20], [12, 10, 5, 4], [10, 10, 20, 41]]
    gt = read([{field: box} for box in boxes], visibility=None)
    assert values(gt) == [1, 0.5, 0.025, 1]
    assert gt.origins['visibility'] == f"area of '{field}' over that of 'bbox'"
    assert not [note for note in gt.notes if field in note]


def test_four_zeros_are_fully_visible_and_a_larger_box_is_doubted():
    boxes = [0, 0, 0, 0], [10, 10, 30, 50], [10, 10, 0, 0]
    gt = read([{'vis_bbox': list(box)} for box in boxes], visibility=None)
    assert values(gt) == [1, 1, 0]
    assert any("1 instance has a 'vis_bbox' of four zeros, which stands for fully" in each for each in gt.notes)
    assert any("'vis_bbox' of 1 instance is larger than the 'bbox': taken" in each for each in gt.notes)


def test_a_share_comes_before_a_box_and_a_named_field_before_both():
    rows = [{'vis_ratio': 0.3, 'vis_bbox': [10, 10, 20, 20], 'mine': 0.7}]
    assert values(read(rows, visibility=None)) == [0.3]
    assert values(read(rows, visibility='vis_bbox')) == [0.5]
    assert values(read(rows, visibility='mine')) == [0.7]


def test_what_is_not_known_is_in_no_stratum_and_told():
    regions = [{'vis_ratio': 'bad', 'ignore': 1}, {'vis_ratio': 9, 'iscrowd': 1}]
    rows = [{'vis_ratio': 0.3}, {}, {'vis_ratio': None}, *regions]
    gt = read(rows, visibility=None)
    assert values(gt)[0] == 0.3 and all(map(math.isnan, values(gt)[1:]))
    assert any("2 of 3 instances have no 'vis_ratio': they are in no stratum" in note for note in gt.notes)


@pytest.mark.parametrize('field', LEVELS)
def test_levels(field):
    gt = read([{field: 0}, {field: 2.0}, {}, {field: 'x', 'ignore': 1}], level=None)
    assert values(gt, 'level')[:2] == [0, 2] and np.isnan(values(gt, 'level')[2:]).all()
    assert values(read([{'mine': 3, field: 0}], level='mine'), 'level') == [3]


def test_heights_are_of_the_field_if_all_have_it_and_told_where_the_box_has_another():
    gt = read([{'height': 40}, {'height': 40.5}], height=None)
    assert (values(gt, 'height'), gt.origins['height']) == ([40, 40.5], "'height'")
    assert not any('that of their box' in note for note in gt.notes)
    gt = read([{'height': 40}, {'height': 1024}, {'height': 7, 'ignore': 1}], height=None)
    assert values(gt, 'height') == [40, 1024, 7]
    assert any("'height' of 1 of 2 instances is not that of their box; strata go by 'height'" in n for n in gt.notes)
    for rows in ([{'height': 30}, {}], [{'height': '30'}, {'height': 30}], [{'height': True}, {'height': 30}]):
        gt = read(rows, height=None)
        assert (values(gt, 'height'), gt.origins['height']) == ([40, 40], "height of 'bbox'")


def test_areas_are_the_field_also_where_nothing_is_evaluated():
    rows = content([{'area': 123}, {}])
    for iou_types in ((), ('bbox',)):
        gt = load_ground_truth(rows, iou_types=iou_types, wanted={'area': None})
        assert values(gt, 'area') == [123, 800]


def test_masks_tell_the_visible_share_where_no_field_does():
    whole, visible = [[10, 10, 30, 10, 30, 50, 10, 50]], [[10, 10, 30, 10, 30, 20, 10, 20]]
    rows = [{'segmentation': whole, 'visible_mask': visible}, {'segmentation': whole}]
    gt = load_ground_truth(content(rows), wanted={'visibility': None})
    assert 'visibility' not in gt.attributes
    made = Selection(visibility=None, definition='max-hidden').apply(gt)
    assert made.fractions.tolist() == [0.75, 0] and list(made.values.values()) == [0.75]
    # A field that is named comes first.
    gt = load_ground_truth(content([row | {'mine': 0.5} for row in rows]), wanted={'visibility': 'mine'})
    assert values(gt) == [0.5, 0.5] and gt.amodal_segmentations is None


def test_crowdhuman_as_published(tmp_path):
    people = [
        {'tag': 'person', 'fbox': [10, 10, 20, 40], 'vbox': [10, 10, 20, 10], 'extra': {}},
        {'tag': 'person', 'fbox': [10, 10, 20, 40], 'vbox': [10, 10, 20, 40], 'extra': {'ignore': 1}},
        {'tag': 'mask', 'fbox': [0, 0, 9, 9], 'vbox': [0, 0, 9, 9]},
    ]
    path = tmp_path / 'a.odgt'
    path.write_text(json.dumps({'ID': 'x,1', 'gtboxes': people}) + '\n')
    gt = load_ground_truth(path, wanted={'visibility': None})
    assert values(gt)[0] == 0.25 and gt.is_region.tolist() == [False, True, True]


@pytest.mark.parametrize('field', ['ignore', 'difficult'])
def test_difficult_is_an_ignored_region_as_ignore_is(field):
    rows = [{field: 1}, {field: 0}, {field: '1'}, {field: True, 'iscrowd': 1}, {}]
    gt = read(rows)
    assert gt.is_ignored.tolist() == [True, False, True, True, False]
    notes = [note for note in gt.notes if ' set: ' in note]
    assert len(notes) == 1 and f"2 of 5 instances have '{field}' set: no occlusion ratio counts them" in notes[0]
    gt = read(rows, ignore='as-instances')
    assert not gt.is_ignored.any() and not [note for note in gt.notes if ' set: ' in note]


def test_both_are_told_apart_and_what_is_no_flag_is_refused():
    gt = read([{'ignore': 1}, {'difficult': 1}, {'ignore': 1, 'difficult': 1}, {}])
    assert gt.is_ignored.tolist() == [True, True, True, False]
    assert sum('2 of 4 instances have' in note for note in gt.notes) == 2
    with pytest.raises(InputError, match=r"annotations\[0\] \(id 1\): field 'difficult' is 3, neither 0 nor 1"):
        read([{'difficult': 3}])
    assert not read([{'difficult': 3}], ignore='as-instances').is_ignored.any()


SHARE = 'from 0 to 1, or the box of its visible part.'


@pytest.mark.parametrize(
    ('row', 'wanted', 'message'),
    [
        ({}, {'visibility': None}, "has no visible share, and no whole and visible masks (looked for as 'vis_r"),
        ({}, {'visibility': 'nosuch'}, "has no 'nosuch'; give each instance's visible share, " + SHARE),
        ({'vis_ratio': 80}, {'visibility': None}, "field 'vis_ratio' is 80.0, not from 0 to 1; give each instance's"),
        ({'vis_ratio': 1.2}, {'visibility': None}, "field 'vis_ratio' is 1.2, not from 0 to 1"),
        ({'vis_ratio': -0.5}, {'visibility': None}, "field 'vis_ratio' is -0.5, not from 0 to 1"),
        ({'vis_ratio': '0.5'}, {'visibility': None}, "field 'vis_ratio' is '0.5', not a finite number"),
        ({'vis_bbox': [1, 2, 3]}, {'visibility': None}, "field 'vis_bbox' is [1, 2, 3], not four numbers"),
        ({'vis_bbox': [1, 2, -3, 4]}, {'visibility': None}, 'with a negative width or height'),
        ({}, {'level': None}, "has no level of occlusion (looked for as 'occlusion' or 'occluded' or"),
        ({}, {'level': 'truncated'}, "has no 'truncated'; give each instance's level of occlusion, a whole number"),
        ({'occlusion': 'heavy'}, {'level': None}, "field 'occlusion' is 'heavy', not a finite number"),
        ({'occlusion': 0.5}, {'level': None}, "field 'occlusion' is 0.5, no whole number from 0 on"),
        ({'occlusion': -1}, {'level': None}, "field 'occlusion' is -1.0, no whole number from 0 on"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(row, wanted, message):
    with pytest.raises(InputError) as caught:
        read([row, row], **wanted)
    text = str(caught.value)
    assert text.startswith('ground truth: 2 records, the first is annotations[0] (id 1): ') and message in text
    assert text.endswith('.') and '\n' not in text and text.count('. ') == 0


def test_no_annotation_has_no_attribute():
    gt = load_ground_truth(content([]), wanted={'visibility': None, 'level': None, 'height': None, 'area': None})
    assert all(len(each) == 0 for each in gt.attributes.values()) and len(gt.attributes) == 4
