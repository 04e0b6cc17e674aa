import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion import covered_fractions, covered_ratio, image_ratios

A = [10, 10, 20, 20]
EXAMPLES = {
    'none': ([], 0),
    'single': ([A], 0),
    'two identical': ([A, A], 1),
    'four identical': ([A] * 4, 1),
    'two overlapping by half': ([A, [20, 10, 20, 20]], 0.5),
    'touching edges': ([A, [30, 10, 20, 20]], 0),
    'inner box': ([[0, 0, 10, 10], [0, 0, 5, 10]], 100 / 150),
    'box without area': ([A, [15, 15, 0, 10]], 0),
    'only boxes without area': ([[0, 0, 0, 5], [0, 0, 0, 5]], 0),
}

integer_boxes = st.lists(st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(0, 12)] * 2).map(list), max_size=9)
coordinate = st.floats(-50, 50, allow_subnormal=False)
size = st.floats(0.5, 40)
float_boxes = st.lists(st.tuples(coordinate, coordinate, size, size).map(list), min_size=1, max_size=9)


@pytest.mark.parametrize('boxes, expected', EXAMPLES.values(), ids=EXAMPLES.keys())
def test_worked_examples(boxes, expected):
    assert covered_ratio(np.array(boxes)) == pytest.approx(expected, abs=1e-15)


def test_a_small_box_inside_a_huge_one_is_fully_covered():
    boxes = np.array([[0, 0, 1e6, 1e6], [123.4567, 7.654321, 1e-4, 1e-4]])
    assert covered_fractions(boxes)[1] == 1


@given(integer_boxes)
def test_equals_counting_pixels(boxes):
    pixels = np.zeros((len(boxes), 24, 24), dtype=bool)
    for layer, (x, y, w, h) in zip(pixels, boxes, strict=True):
        layer[x : x + w, y : y + h] = True
    covered = (pixels & (pixels.sum(axis=0) > 1)).sum(axis=(1, 2))
    areas = pixels.sum(axis=(1, 2))
    fractions = [c / a if a else 0 for c, a in zip(covered, areas, strict=True)]
    assert covered_fractions(np.array(boxes)) == pytest.approx(fractions, abs=1e-12)
    assert covered_ratio(np.array(boxes)) == pytest.approx(covered.sum() / max(areas.sum(), 1), abs=1e-12)


@settings(deadline=None)
@given(float_boxes)
def test_equals_polygon_unions(boxes):
    shapely = pytest.importorskip('shapely')
    shapes = [shapely.box(x, y, x + w, y + h) for x, y, w, h in boxes]
    covered = [
        shape.intersection(shapely.union_all(shapes[:i] + shapes[i + 1 :])).area for i, shape in enumerate(shapes)
    ]
    areas = [shape.area for shape in shapes]
    expected = [c / a for c, a in zip(covered, areas, strict=True)]
    assert covered_fractions(np.array(boxes)) == pytest.approx(expected, abs=1e-9)
    assert covered_ratio(np.array(boxes)) == pytest.approx(sum(covered) / sum(areas), abs=1e-9)


@given(float_boxes, st.floats(0.01, 100), st.tuples(coordinate, coordinate), st.randoms())
def test_invariances(boxes, scale, shift, random):
    original = np.array(boxes)
    ratio = covered_ratio(original)
    assert 0 <= ratio <= 1
    shuffled = random.sample(boxes, len(boxes))
    assert covered_ratio(np.array(shuffled)) == pytest.approx(ratio, abs=1e-12)
    assert covered_ratio(original * scale) == pytest.approx(ratio, abs=1e-9)
    assert covered_ratio(original + np.array([*shift, 0, 0])) == pytest.approx(ratio, abs=1e-9)


@given(float_boxes)
def test_a_disjoint_instance_dilutes(boxes):
    original = np.array(boxes)
    area = (original[:, 2] * original[:, 3]).sum()
    joined = np.vstack([original, [[1000, 1000, 10, 10]]])
    assert covered_fractions(joined)[-1] == 0
    assert covered_ratio(joined) == pytest.approx(covered_ratio(original) * area / (area + 100), abs=1e-12)


@pytest.mark.parametrize('boxes', [[[1, 2, 3]], [[0, 0, -1, 2]], [[0, 0, float('nan'), 2]]])
def test_unusable_boxes(boxes):
    with pytest.raises(InputError):
        covered_ratio(np.array(boxes))


def test_data_set_leaves_out_crowd_and_ignored_and_keeps_the_order():
    def annotation(i, image_id, box=A, **more):
        return {'id': i, 'image_id': image_id, 'category_id': 1, 'bbox': box, 'area': 1, **more}

    gt = {
        'images': [{'id': i} for i in (9, 2, 5, 4, 7)],
        'categories': [{'id': 1}],
        'annotations': [
            annotation(1, 5),
            annotation(2, 9),
            annotation(3, 5, iscrowd=0, ignore=0),
            annotation(4, 9, iscrowd=1),
            annotation(5, 4),
            annotation(6, 4, ignore=1),
            annotation(7, 7),
            annotation(8, 7, [20, 10, 20, 20]),
        ],
    }
    ratios = image_ratios(gt)
    assert list(ratios) == [9, 2, 5, 4, 7]
    assert ratios == {9: 0, 2: 0, 5: 1, 4: 0, 7: 0.5}
