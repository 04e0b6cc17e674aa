"""Which of two masks of an instance is read, with its box and area, from each layout as published."""

import numpy as np
import pytest
from pycocotools import mask

from mmhybrid.errors import InputError
from mmhybrid.occlusion.ratios import measure
from mmhybrid.occlusion.read.amodal import MASKS
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.selection import Selection

from ..amodal_sets import LAYOUTS, around, ground_truth, hidden, pixels, scene
from ..synthetic import dataset

ROWS, _ = scene(0)
BOTH = ('bbox', 'segm')


def load(layout, masks, rows=ROWS, **more):
    return load_ground_truth(ground_truth(rows, layout), BOTH, BOTH, masks=masks, **more)


@pytest.mark.parametrize('masks', MASKS)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_masks_boxes_and_areas_are_of_the_chosen(layout, masks):
    loaded = load(layout, masks)
    drawn = [pixels(whole if masks == 'amodal' else seen) for _, _, whole, seen in ROWS]
    assert all(
        np.array_equal(mask.decode(found), right) for found, right in zip(loaded.segmentations, drawn, strict=True)
    )
    assert loaded.areas.tolist() == [right.sum() for right in drawn]
    boxes = np.array([around(right) for right in drawn])
    assert np.array_equal(loaded.extents, np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1))
    empty = loaded.areas == 0
    assert empty.any() == (masks == 'visible')
    assert np.array_equal(loaded.boxes[~empty], boxes[~empty])
    [first, *others] = [note for note in loaded.notes if masks in note or 'without any pixel' in note]
    assert f'matched with the {masks} masks' in first
    assert len(others) == (masks == 'visible')
    # The whole ones tell how much is hidden, whichever is matched.
    assert 1 - measure(loaded, 'invisible', 'amodal').fractions == pytest.approx(1 - hidden(ROWS), abs=1e-15)


@pytest.mark.parametrize(
    ('layout', 'masks', 'said'),
    [
        ('synthetic', 'amodal', "'amodal_bbox'"),
        ('synthetic', 'visible', "'bbox'"),
        ('KINS 2019', 'amodal', "'bbox'"),
        ('KINS 2019', 'visible', "'inmodal_bbox'"),
        ('KINS 2020', 'amodal', "'a_bbox'"),
        ('KINS 2020', 'visible', "'i_bbox'"),
        ('COCOA', 'visible', 'those around these masks'),
        ('D2SA', 'amodal', 'those around these masks'),
        ('AIStron', 'visible', 'those around these masks'),
    ],
)
def test_boxes_are_the_files_own_where_it_says_which_they_are(layout, masks, said):
    gt = ground_truth(ROWS, layout)
    name = said.strip("'")
    for row in gt['annotations']:
        if name in row:
            row[name] = [0.5, 0.25, 7, 9]
    loaded = load_ground_truth(gt, BOTH, BOTH, masks=masks)
    assert loaded.notes[0].endswith(f'boxes are {said}')
    own = (loaded.boxes == [0.5, 0.25, 7, 9]).all(axis=1)
    assert own.all() if name in gt['annotations'][0] else not own.any()


def test_what_is_missing_is_taken_from_the_other_mask():
    gt = ground_truth(ROWS, 'KINS 2020')
    part = gt['annotations'][0]
    for field in ('i_segm', 'i_bbox'):
        del part[field]
    del gt['annotations'][1]['i_bbox']
    region = gt['annotations'][2]
    region |= {'iscrowd': 1}
    for field in ('a_segm', 'a_bbox'):
        del region[field]
    visible = load_ground_truth(gt, BOTH, BOTH, masks='visible')
    assert np.array_equal(mask.decode(visible.segmentations[0]), pixels(ROWS[0][2]))
    assert visible.boxes[0].tolist() == ROWS[0][2]
    assert visible.boxes[1].tolist() == around(pixels(ROWS[1][3]))
    assert "'a_segm' where it is missing, of 1 of" in visible.notes[0]
    assert visible.notes[0].endswith("boxes are 'i_bbox' and 'a_bbox' and those around these masks")
    whole = load_ground_truth(gt, BOTH, BOTH, masks='amodal')
    assert np.array_equal(mask.decode(whole.segmentations[2]), pixels(ROWS[2][3]))
    assert whole.is_region[2]


def test_what_describes_an_instance_goes_by_its_whole_box():
    gt = ground_truth(ROWS, 'KINS 2020')
    for row in gt['annotations']:
        row['vis_bbox'] = [0, 0, row['a_bbox'][2] / 2, row['a_bbox'][3]]
    named = {'visibility': 'vis_bbox', 'height': None}
    loaded = {masks: load_ground_truth(gt, BOTH, BOTH, wanted=named, masks=masks) for masks in MASKS}
    for each in loaded.values():
        assert each.attributes['visibility'].tolist() == [0.5] * len(ROWS)
        assert each.attributes['height'].tolist() == [whole[3] for _, _, whole, _ in ROWS]
    # Unless its field is named, masks tell the visibility.
    gt = ground_truth(ROWS, 'KINS 2019')
    for row in gt['annotations']:
        row['vis_ratio'] = 0.1
    loaded = [
        load_ground_truth(gt, BOTH, BOTH, wanted={'visibility': None}, masks=masks) for masks in (None, 'visible')
    ]
    assert ['visibility' in each.attributes for each in loaded] == [True, False]


def test_without_a_choice_nothing_is_chosen():
    loaded = load('KINS 2019', None)
    assert loaded.notes == () and loaded.amodal_segmentations is None
    assert loaded.boxes.tolist() == [whole for _, _, whole, _ in ROWS]


@pytest.mark.parametrize('masks', MASKS)
def test_a_set_without_annotations(masks):
    gt = ground_truth(ROWS, 'D2SA') | {'annotations': []}
    loaded = load_ground_truth(gt, BOTH, BOTH, masks=masks)
    assert len(loaded.segmentations) == len(loaded.extents) == len(loaded.boxes) == len(loaded.areas) == 0


def test_more_masks_than_pycocotools_area_takes():
    rows = ROWS * 12
    assert len(rows) > 255
    assert load('D2SA', 'visible', rows).areas.sum() == 12 * load('D2SA', 'visible').areas.sum()
    gt = ground_truth(rows, 'D2SA')
    for row in gt['annotations']:
        del row['area']
    assert load_ground_truth(gt, BOTH, BOTH).areas.tolist() == [whole[2] * whole[3] for _, _, whole, _ in rows]


def test_what_cannot_be_chosen_is_one_sentence():
    with pytest.raises(InputError, match=r"unknown masks 'whole'; choose from amodal, visible\."):
        load('D2SA', 'whole')
    plain, _ = dataset(0, masks=True)
    with pytest.raises(InputError, match=r"no amodal and visible mask, looked for as .*'a_segm'.*leave masks out"):
        load_ground_truth(plain, BOTH, BOTH, masks='visible')
    with pytest.raises(InputError, match=r"field 'bbox' is missing, but there are whole .*--masks amodal or visible"):
        load('KINS 2020', None)
    gt = ground_truth(ROWS, 'KINS 2020')
    gt['annotations'][4]['i_bbox'] = [1, 2, -3, 4]
    with pytest.raises(InputError, match=r"annotations\[4\] \(id 5\): field 'i_bbox' is .*negative width or height"):
        load_ground_truth(gt, BOTH, BOTH, masks='visible')


@pytest.mark.parametrize('masks', [None, *MASKS])
def test_the_preset_goes_by_masks_whatever_else_is_annotated(masks):
    rows = [*ROWS, (1, 1, [0, 0, 8, 8], [0, 0, 6, 8]), (1, 1, [0, 0, 8, 8], [2, 0, 8, 8])]  # a quarter is hidden
    gt = ground_truth(rows, 'KINS 2019')
    for row in gt['annotations']:
        row['vis_ratio'] = 0.1
    selection = Selection(preset='amodal')
    loaded = load_ground_truth(gt, selection.geometries(), BOTH, wanted=selection.wanted(), masks=masks)
    made = selection.apply(loaded)
    h = hidden(rows)
    assert (h == 0.25).sum() >= 2
    held = {stratum.name: holds.tolist() for stratum, holds in made.holds.items()}
    assert held == {
        'none': (h == 0).tolist(),
        'partial': ((h > 0) & (h <= 0.25)).tolist(),
        'heavy': (h > 0.25).tolist(),
    }
    assert all(map(any, held.values())) and np.sum(list(held.values())) == len(rows)
    assert made.fractions == pytest.approx(h, abs=1e-15)


def test_the_preset_needs_two_masks_and_nothing_else():
    with pytest.raises(InputError, match='preset and visibility exclude each other'):
        Selection(preset='amodal', visibility='vis_ratio')
    plain, _ = dataset(0, masks=True)
    with pytest.raises(InputError, match='no amodal and visible mask'):
        load_ground_truth(plain, Selection(preset='amodal').geometries(), BOTH)
