"""Selections: presets, ratios, user-given edges, the user's own property."""

import math

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import InstanceStratum, strata
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.selection import Selection

# Image 1: two boxes that overlap by half. 2: two apart. 3: three identical boxes. 4: no instance.
BOXES = {1: [[0, 0, 10, 10], [5, 0, 10, 10]], 2: [[0, 0, 10, 10], [20, 0, 10, 10]], 3: [[0, 0, 4, 4]] * 3, 4: []}
PAIRS = [(image_id, box) for image_id, boxes in BOXES.items() for box in boxes]
GT = load_ground_truth(
    {
        'images': [{'id': i, 'file_name': f'{i}.jpg'} for i in BOXES],
        'categories': [{'id': 1, 'name': 'x'}],
        'annotations': [
            {'id': n, 'image_id': image_id, 'category_id': 1, 'bbox': box, 'area': box[2] * box[3]}
            for n, (image_id, box) in enumerate(PAIRS, start=1)
        ],
    }
)


def members(**selection):
    made = Selection(**selection).apply(GT)
    return {stratum.name: ids for stratum, ids in made.members().items() if ids}, made


def test_the_default_is_the_preset_tbc():
    parts, made = members()
    assert made.strata == strata.tbc()
    assert made.values == Selection(preset='tbc').apply(GT).values
    assert made.values == {1: 0.5, 2: 0.0, 3: 1.0, 4: 0.0}
    assert parts['r = 0'] == [2, 4] and parts['0.4 < r <= 0.5'] == [1] and parts['0.9 < r <= 1'] == [3]
    assert parts['r >= 0.5'] == [1, 3] and parts['all'] == [1, 2, 3, 4]
    assert made.num_outside() == 0
    assert made.fractions.tolist() == [0.5, 0.5, 0, 0, 1, 1, 1]


def test_coco_occ_parts_the_images_at_iou_02():
    parts, made = members(preset='coco-occ')
    assert parts == {'all': [1, 2, 3, 4], 'max IoU < 0.2': [2, 4], 'max IoU >= 0.2': [1, 3]}
    assert made.values[1] == pytest.approx(1 / 3) and made.measure.definition == 'max-iou'
    assert made.num_outside() == 0


@pytest.mark.parametrize('value', [0.2, 0.2 - 1e-10, 0.2 - 1e-9, 0.2 - 2e-9, 0.2 - 3e-9, 0.2 + 1e-12, 0.0, 1.0])
def test_coco_occ_puts_every_image_on_one_side(value):
    _, low, high = strata.coco_occ()
    assert low.contains(value) != high.contains(value)


def test_pairwise_has_a_bin_without_end():
    parts, made = members(definition='pairwise')
    assert made.values[3] == 1.0  # three pairs of 16 over 48
    assert made.strata[12].upper == math.inf and made.num_outside() == 0
    assert parts['0.9 < r <= 1'] == [3]


def test_edges_and_thresholds_of_the_users_own():
    parts, made = members(edges=[0.4, 0.6], thresholds=[0.5])
    assert parts == {'all': [1, 2, 3, 4], '0.4 < r <= 0.6': [1], 'r >= 0.5': [1, 3]}
    assert made.num_outside() == 2


def test_labels_and_numbers_of_the_users_own():
    parts, made = members(values={1: 'night', 2: 'day', 3: 'day', 4: 'night'})
    assert parts == {'all': [1, 2, 3, 4], 'day': [2, 3], 'night': [1, 4]}
    assert made.measure.definition == 'user'
    parts, made = members(values={'1.jpg': 4, '2.jpg': 1, '3.jpg': 2, '4.jpg': 3}, column='people')
    assert parts == {
        'all': [1, 2, 3, 4], 'people <= 1.75': [2], '1.75 < people <= 2.5': [3], '2.5 < people <= 3.25': [4],
        'people > 3.25': [1],
    }  # fmt: skip
    parts, _ = members(values={1: 4, 2: 1, 3: 2, 4: 3}, edges=[0, 2, 4], thresholds=[3])
    assert parts == {'all': [1, 2, 3, 4], '0 < value <= 2': [2, 3], '2 < value <= 4': [1, 4], 'value >= 3': [1, 4]}


def test_strata_on_images_of_some_names_are_named_where_there_is_none():
    day = InstanceStratum('day', prefixes=('set06', 'set07'))
    parts, made = members(parts=[day, InstanceStratum('one', prefixes=('1',))])
    assert parts == {'all': [1, 2, 3, 4], 'one': [1]}
    assert made.notes == ("ground truth: no name or folder of an image begins with set06, set07: 'day' is empty",)


def test_a_number_that_is_the_same_everywhere():
    parts, _ = members(values=dict.fromkeys(BOXES, 7))
    assert parts == {'all': [1, 2, 3, 4], 'value <= 7': [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ('selection', 'message'),
    [
        (dict(preset='tbc', edges=[0, 1]), 'preset and edges exclude each other'),
        (dict(preset='crowd'), "unknown preset 'crowd'; choose from tbc, coco-occ"),
        (dict(values={}, definition='multi'), 'values and definition exclude each other'),
        (dict(parts=[], thresholds=[0.5]), 'parts and thresholds exclude each other'),
        (dict(values=5), 'the values are 5; give a file'),
        (dict(parts=5), 'the strata are 5; give a list of Stratum'),
        (dict(parts=[5]), r'the strata are \[5\]'),
        (dict(edges=5), 'bin edges are 5; give a list of numbers'),
        (dict(edges='01'), "bin edges are '01'"),
        (dict(edges=[None, 1]), r'bin edges are \[None, 1\]'),
        (dict(thresholds=0.5), 'thresholds are 0.5; give a list of numbers'),
        (dict(thresholds=['a']), r"thresholds are \['a'\]"),
        (dict(column='x'), 'a column is given but no file'),
        (dict(values=dict.fromkeys(BOXES, 'day'), edges=[0, 1]), 'labels, which have no bins'),
        (dict(parts=[strata.cumulative([0.5])[0], strata.Stratum('r >= 0.5', 0, 1, 'bin')]), 'share the name'),
    ],
)
def test_what_cannot_be_selected(selection, message):
    with pytest.raises(InputError, match=message):
        Selection(**selection).apply(GT)
