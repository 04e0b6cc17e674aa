from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from mmhybrid.errors import InputError
from mmhybrid.occlusion import ratios
from mmhybrid.occlusion.ratios import DEFINITIONS, GEOMETRIES, measure
from mmhybrid.occlusion.read.ground_truth import GroundTruth, load_ground_truth

A, HALF = [10, 10, 20, 20], [20, 10, 20, 20]
APART = [('invisible', 'bbox'), ('invisible', 'segm')]
SIZES = {1: (40, 60), 2: (64, 50), 3: (33, 71), 4: (41, 60)}


def polygon(box):
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def compressed(box, size):
    return mask.frPyObjects(polygon(box), *size)[0]


def ground_truth(annotations, image_ids=(1, 2, 3, 4), **masks):
    """Checked ground truth of ``(image id, box, crowd, ignored)``; half the boxes as polygons, half encoded."""
    ids, boxes, crowd, ignored = zip(*annotations, strict=True) if annotations else ((),) * 4
    segmentations = [
        polygon(box) if i % 2 else compressed(box, SIZES[image_id])
        for i, (image_id, box) in enumerate(zip(ids, boxes, strict=True))
    ]
    fields = dict(
        source='gt.json',
        images=[{'id': i, 'height': SIZES[i][0], 'width': SIZES[i][1]} for i in image_ids],
        categories=[{'id': 1}],
        image_ids=np.array(image_ids, dtype=np.int64),
        annotation_ids=np.arange(1, len(ids) + 1),
        annotation_image_ids=np.array(ids, dtype=np.int64),
        category_ids=np.ones(len(ids), dtype=np.int64),
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        areas=np.array([w * h for _, _, w, h in boxes], dtype=np.float64),
        is_crowd=np.array(crowd, dtype=bool),
        is_ignored=np.array(ignored, dtype=bool),
        sizes=np.array([SIZES[i] for i in image_ids], dtype=np.int64),
        segmentations=segmentations,
        amodal_segmentations=None,
        visible_segmentations=None,
    )
    return GroundTruth(**fields | masks)


# Boxes of whole pixels inside the smallest image, so that polygons of them are the same pixels.
side = st.integers(1, 16)
annotations = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, 4]),
        st.tuples(side, side, side, side).map(list),
        st.sampled_from([False, False, False, True]),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=12,
)


@pytest.mark.parametrize('definition', ['covered', 'multi', 'pairwise', 'max-iou'])
@settings(deadline=None, max_examples=50)
@given(rows=annotations)
def test_boxes_and_their_masks_agree(definition, rows):
    gt = ground_truth(rows)
    by_box, by_mask = measure(gt, definition, 'bbox'), measure(gt, definition, 'segm')
    assert list(by_mask.ratios.values()) == pytest.approx(list(by_box.ratios.values()), abs=1e-12)
    assert by_mask.fractions == pytest.approx(by_box.fractions, abs=1e-12, nan_ok=True)
    gt = ground_truth(rows, amodal_segmentations=gt.segmentations, segmentations=None)
    whole = measure(gt, definition, 'amodal')
    assert whole.ratios == by_mask.ratios and np.array_equal(whole.fractions, by_mask.fractions, equal_nan=True)


@pytest.mark.parametrize('definition', ['covered', 'multi', 'pairwise', 'max-iou'])
@settings(deadline=None, max_examples=50)
@given(rows=annotations, random=st.randoms(use_true_random=False))
def test_images_and_annotations_in_any_order(definition, rows, random):
    gt = ground_truth(rows)
    found = measure(gt, definition)
    of_image = getattr(ratios, {'max-iou': 'max_iou'}.get(definition, f'{definition}_ratio'))
    for image_id in gt.image_ids:
        counted = (gt.annotation_image_ids == image_id) & ~gt.is_crowd & ~gt.is_ignored
        assert found.ratios[image_id] == of_image(gt.boxes[counted])
        assert (found.fractions[counted] == ratios.covered_fractions(gt.boxes[counted])).all()

    order, image_ids = list(range(len(rows))), [4, 2, 1, 3]
    random.shuffle(order)
    shuffled = measure(ground_truth([rows[i] for i in order], image_ids), definition)
    assert list(shuffled.ratios) == image_ids and shuffled.ratios == pytest.approx(found.ratios, abs=1e-12)
    assert shuffled.fractions == pytest.approx(found.fractions[order], abs=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(rows=annotations)
def test_fractions_average_to_the_covered_ratio(rows):
    gt = ground_truth(rows)
    found = measure(gt)
    areas = gt.boxes[:, 2] * gt.boxes[:, 3]
    for image_id, ratio in found.ratios.items():
        own = (gt.annotation_image_ids == image_id) & ~np.isnan(found.fractions)
        expected = np.average(found.fractions[own], weights=areas[own]) if own.any() else 0
        assert ratio == pytest.approx(expected, abs=1e-12)


def test_leaves_out_crowd_and_ignored_and_keeps_the_order():
    rows = [
        (1, A, False, False),
        (3, A, False, False),
        (1, A, False, False),
        (3, A, True, False),
        (2, A, False, True),
        (2, A, False, False),
        (4, A, False, False),
        (4, HALF, False, False),
    ]
    expected = {4: 0.5, 3: 0, 2: 0, 1: 1}
    for geometry in 'bbox', 'segm':
        found = measure(ground_truth(rows, (4, 3, 2, 1)), geometry=geometry)
        assert list(found.ratios) == [4, 3, 2, 1] and found.ratios == expected
        assert all(type(key) is int and type(value) is float for key, value in found.ratios.items())
        assert np.array_equal(found.fractions, [1, 0, 1, np.nan, np.nan, 0, 0.5, 0.5], equal_nan=True)


@pytest.mark.parametrize(
    'definition, geometry', [pair for pair in product(DEFINITIONS, GEOMETRIES) if pair not in APART]
)
def test_no_area_and_no_instances_give_zero(definition, geometry):
    rows = [(1, [5, 5, 0, 9], False, False), (1, [5, 5, 0, 9], False, False), (2, A, True, False), (3, A, False, False)]
    empty = mask.encode(np.zeros(SIZES[1], dtype=np.uint8, order='F'))
    masks = [empty, empty, compressed(A, SIZES[2]), compressed(A, SIZES[3])]
    gt = ground_truth(rows, segmentations=masks, amodal_segmentations=masks, visible_segmentations=masks)
    found = measure(gt, definition, geometry)
    assert found.ratios == {1: 0, 2: 0, 3: 0, 4: 0}
    assert np.array_equal(found.fractions, [0, 0, np.nan, 0], equal_nan=True)
    nothing = ground_truth([], segmentations=[], amodal_segmentations=[], visible_segmentations=[])
    assert measure(nothing, definition, geometry).ratios == {1: 0, 2: 0, 3: 0, 4: 0}


def test_invisible():
    """Image 1: half of one of two equal instances is hidden; image 3: three quarters of the only one that counts."""
    rows = [(1, A, False, False), (3, A, True, False), (1, HALF, False, False), (3, A, False, False)]
    amodal = [polygon(A), polygon(A), polygon(HALF), polygon(A)]
    # The last visible mask also holds 10 x 20 pixels that its amodal mask does not.
    visible = [polygon([10, 10, 10, 20]), polygon(A), compressed(HALF, SIZES[1]), polygon([25, 10, 15, 20])]
    gt = ground_truth(rows, amodal_segmentations=amodal, visible_segmentations=visible)
    found = measure(gt, 'invisible', 'amodal')
    assert found.ratios == {1: 0.25, 2: 0, 3: 0.75, 4: 0}
    assert np.array_equal(found.fractions, [0.5, np.nan, 0, 0.75], equal_nan=True)
    assert np.array_equal(measure(gt, 'multi', 'amodal').fractions, [0.5, np.nan, 0.5, 0], equal_nan=True)


def test_synthetic_data_set_agrees_with_its_own_records():
    pytest.importorskip('PIL')
    from mmhybrid.datasets._coco import CATEGORIES, scene_records
    from mmhybrid.datasets.occluded_shapes import image_rng, render_scene

    targets = {1: 0.0, 2: 0.3, 3: 0.6, 4: 0.85}
    scenes = [scene_records(render_scene(image_rng(0, 0, i), target, 128), i) for i, target in targets.items()]
    images = [image for image, _ in scenes]
    records = [{'id': i, **each} for i, each in enumerate((each for _, part in scenes for each in part), start=1)]
    gt = load_ground_truth({'images': images, 'categories': CATEGORIES, 'annotations': records}, ('segm', 'amodal'))
    found = measure(gt, 'invisible', 'amodal')
    assert 1 - found.fractions == pytest.approx([record['visible_fraction'] for record in records], abs=1e-6)
    amodal = np.array([record['amodal_area'] for record in records])
    visible = np.array([record['area'] for record in records])
    for i in targets:
        own = gt.annotation_image_ids == i
        assert found.ratios[i] == pytest.approx(1 - visible[own].sum() / amodal[own].sum(), abs=1e-12)
    assert measure(gt).ratios == pytest.approx({image['id']: image['occlusion_ratio'] for image in images}, abs=1e-9)
    # Visible masks never overlap; what is hidden of an instance lies under the amodal masks of others.
    assert set(measure(gt, 'covered', 'segm').ratios.values()) == {0.0}
    assert (measure(gt, 'covered', 'amodal').fractions >= found.fractions).all()


@pytest.mark.parametrize(
    'definition, geometry, match',
    [
        ('any', 'bbox', "unknown definition 'any' .*covered, multi, pairwise, invisible, max-iou"),
        ('covered', 'mask', "unknown geometry 'mask'.*bbox, segm, amodal"),
        ('invisible', 'bbox', "'invisible' compares amodal with visible masks.*'bbox'"),
        ('invisible', 'segm', "'segm'.*choose the geometry 'amodal' or another definition"),
        ('covered', 'segm', r'gt\.json: .* needs masks'),
        ('max-iou', 'amodal', r'gt\.json: .* needs amodal masks'),
        ('invisible', 'amodal', r'gt\.json: .* needs amodal masks'),
    ],
)
def test_unusable_combinations(definition, geometry, match):
    gt = ground_truth([(1, A, False, False)], segmentations=None, visible_segmentations=[polygon(A)])
    with pytest.raises(InputError, match=match):
        measure(gt, definition, geometry)


def test_amodal_without_visible_masks():
    gt = ground_truth([(1, A, False, False)], amodal_segmentations=[polygon(A)])
    assert measure(gt, 'covered', 'amodal').ratios[1] == 0
    with pytest.raises(InputError, match=r'gt\.json: .* needs visible masks'):
        measure(gt, 'invisible', 'amodal')
