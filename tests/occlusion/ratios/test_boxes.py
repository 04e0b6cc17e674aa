from itertools import combinations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from mmhybrid.errors import InputError
from mmhybrid.occlusion.ratios import covered_fractions, covered_ratio, max_iou, multi_ratio, pairwise_ratio
from mmhybrid.occlusion.ratios.boxes import RATIOS, measure

FUNCTIONS = (covered_ratio, multi_ratio, pairwise_ratio, max_iou)
A = [10, 10, 20, 20]
# Expected: covered, multi, pairwise, max-iou.
EXAMPLES = {
    'none': ([], 0, 0, 0, 0),
    'single': ([A], 0, 0, 0, 0),
    'two identical': ([A, A], 1, 1, 1 / 2, 1),
    'four identical': ([A] * 4, 1, 1, 3 / 2, 1),
    'two overlapping by half': ([A, [20, 10, 20, 20]], 1 / 2, 1 / 3, 1 / 4, 1 / 3),
    'two and one apart': ([A, [20, 10, 20, 20], [100, 100, 20, 20]], 1 / 3, 1 / 5, 1 / 6, 1 / 3),
    'touching edges': ([A, [30, 10, 20, 20]], 0, 0, 0, 0),
    'inner box': ([[0, 0, 10, 10], [0, 0, 5, 10]], 100 / 150, 1 / 2, 1 / 3, 1 / 2),
    'cross': ([[0, 4, 10, 2], [4, 0, 2, 10]], 8 / 40, 4 / 36, 4 / 40, 4 / 36),
    'box without area': ([A, [15, 15, 0, 10]], 0, 0, 0, 0),
    'two identical and one without area': ([A, A, [15, 15, 0, 10]], 1, 1, 1 / 2, 1),
    'two identical and two without area': ([A, A, [15, 15, 0, 10], [15, 15, 5, 0]], 1, 1, 1 / 2, 1),
    'only boxes without area': ([[0, 0, 0, 5], [0, 0, 0, 5]], 0, 0, 0, 0),
}

integer_boxes = st.lists(st.tuples(*[st.integers(0, 12)] * 4).map(list), max_size=9)
coordinate = st.floats(-50, 50, allow_subnormal=False)
size = st.floats(0.5, 40)
float_boxes = st.lists(st.tuples(coordinate, coordinate, size, size).map(list), min_size=1, max_size=9)


def ratios(boxes):
    return [function(np.array(boxes)) for function in FUNCTIONS]


@pytest.mark.parametrize('boxes, expected', [(row[0], row[1:]) for row in EXAMPLES.values()], ids=EXAMPLES.keys())
def test_worked_examples_are_exact(boxes, expected):
    assert ratios(boxes) == list(expected)


def test_a_small_box_inside_a_huge_one_is_fully_covered():
    boxes = np.array([[0, 0, 1e6, 1e6], [123.4567, 7.654321, 1e-4, 1e-4]])
    assert covered_fractions(boxes)[1] == 1
    small = ((boxes[1, :2] + boxes[1, 2:]) - boxes[1, :2]).prod()
    assert ratios(boxes) == pytest.approx([2 * small / 1e12, small / 1e12, small / 1e12, small / 1e12], rel=1e-12)


def test_heaps_have_no_upper_bound_pairwise():
    assert pairwise_ratio(np.array([A] * 21)) == 10


@settings(deadline=None)
@given(integer_boxes)
def test_equals_counting_pixels(boxes):
    pixels = np.zeros((len(boxes), 24, 24), dtype=bool)
    for layer, (x, y, w, h) in zip(pixels, boxes, strict=True):
        layer[x : x + w, y : y + h] = True
    depth = pixels.sum(axis=0)
    covered = (pixels & (depth > 1)).sum(axis=(1, 2))
    areas = pixels.sum(axis=(1, 2))
    total = max(areas.sum(), 1)
    pairs = sum((a & b).sum() for a, b in combinations(pixels, 2))
    iou = max(((a & b).sum() / max((a | b).sum(), 1) for a, b in combinations(pixels, 2)), default=0)
    expected = [covered.sum() / total, (depth > 1).sum() / max((depth > 0).sum(), 1), pairs / total, iou]
    assert ratios(boxes) == pytest.approx(expected, abs=1e-12)
    fractions = [c / a if a else 0 for c, a in zip(covered, areas, strict=True)]
    assert covered_fractions(np.array(boxes)) == pytest.approx(fractions, abs=1e-12)


@pytest.mark.filterwarnings('ignore:.*unary_union:RuntimeWarning')  # GEOS, beside tiny coordinates
@settings(deadline=None)
@given(float_boxes)
def test_equals_polygon_unions(boxes):
    shapes = [shapely.box(x, y, x + w, y + h) for x, y, w, h in boxes]
    covered = [
        shape.intersection(shapely.union_all(shapes[:i] + shapes[i + 1 :])).area for i, shape in enumerate(shapes)
    ]
    areas = [shape.area for shape in shapes]
    meets = [a.intersection(b) for a, b in combinations(shapes, 2)]
    pairs = [shape.area for shape in meets]
    ious = [common.area / a.union(b).area for common, (a, b) in zip(meets, combinations(shapes, 2), strict=True)]
    # Boxes that share an edge meet in a line, which has no area.
    shared = shapely.union_all([shape for shape in meets if shape.area]).area / shapely.union_all(shapes).area
    expected = [sum(covered) / sum(areas), shared, sum(pairs) / sum(areas), max(ious, default=0)]
    assert ratios(boxes) == pytest.approx(expected, abs=1e-9)
    fractions = [c / a for c, a in zip(covered, areas, strict=True)]
    assert covered_fractions(np.array(boxes)) == pytest.approx(fractions, abs=1e-9)


@settings(deadline=None)
@given(float_boxes.filter(lambda boxes: len(boxes) > 1))
def test_max_iou_equals_pycocotools(boxes):
    iou = mask.iou(np.array(boxes), np.array(boxes), [0] * len(boxes))
    assert max_iou(np.array(boxes)) == pytest.approx(iou[np.triu_indices(len(boxes), 1)].max(), abs=1e-12)


@settings(deadline=None)
@given(float_boxes, st.integers(-30, 30), st.floats(0.01, 100), st.tuples(coordinate, coordinate), st.randoms())
def test_range_and_invariances(boxes, power, scale, shift, random):
    original = np.array(boxes)
    expected = ratios(original)
    n = len(boxes)
    assert all(0 <= value <= limit for value, limit in zip(expected, (1, 1, (n - 1) / 2 + 1e-12, 1), strict=True))
    # What covers an instance lies in its pairs, each of which has two instances.
    assert expected[0] <= 2 * expected[2] + 1e-12
    shuffled = random.sample(boxes, n)
    assert ratios(shuffled) == pytest.approx(expected, abs=1e-12)
    assert ratios(original * 2.0**power) == expected
    assert ratios(original * scale) == pytest.approx(expected, abs=1e-9)
    assert ratios(original + np.array([*shift, 0, 0])) == pytest.approx(expected, abs=1e-9)


@pytest.mark.filterwarnings('ignore:.*unary_union:RuntimeWarning')  # GEOS, beside tiny coordinates
@settings(deadline=None)
@given(float_boxes)
def test_a_disjoint_instance_dilutes(boxes):
    original = np.array(boxes)
    areas = original[:, 2] * original[:, 3]
    joined = np.vstack([original, [[1000, 1000, 10, 10]]])
    fractions = covered_fractions(joined)
    assert fractions[-1] == 0 and (fractions[:-1] == covered_fractions(original)).all()
    thinner = areas.sum() / (areas.sum() + 100)
    covered, multi, pairwise, iou = ratios(original)
    union = shapely.union_all([shapely.box(x, y, x + w, y + h) for x, y, w, h in boxes]).area
    expected = [covered * thinner, multi * union / (union + 100), pairwise * thinner, iou]
    assert ratios(joined) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(float_boxes, st.integers(2, 5))
def test_copies_of_all_instances_cover_everything(boxes, copies):
    repeated = np.tile(np.array(boxes), (copies, 1))
    assert covered_fractions(repeated) == pytest.approx(np.ones(len(repeated)), abs=1e-12)
    covered, multi, pairwise, iou = ratios(repeated)
    assert covered == pytest.approx(1, abs=1e-12) and multi == pytest.approx(1, abs=1e-12) and iou == 1
    # n copies of k boxes: n (n - 1) / 2 pairs of each box with itself, n^2 of each pair of boxes.
    once = pairwise_ratio(np.array(boxes))
    assert pairwise == pytest.approx((copies - 1) / 2 + copies * once, abs=1e-9)


@settings(deadline=None)
@given(float_boxes)
def test_fractions_average_to_the_ratio(boxes):
    areas = np.prod(np.array(boxes)[:, 2:], axis=1)
    fractions = covered_fractions(np.array(boxes))
    assert covered_ratio(np.array(boxes)) == pytest.approx(np.average(fractions, weights=areas), abs=1e-9)


@pytest.mark.parametrize('function', (*FUNCTIONS, covered_fractions))
@pytest.mark.parametrize('boxes', [[[1, 2, 3]], [[0, 0, -1, 2]], [[0, 0, float('nan'), 2]]])
def test_unusable_boxes(function, boxes):
    with pytest.raises(InputError, match='give'):
        function(np.array(boxes))


images_of_boxes = st.lists(
    st.one_of(
        integer_boxes,
        float_boxes,
        st.lists(st.tuples(*[st.sampled_from([0, 1, 1e-3, 1e9, 7.654321])] * 4).map(list), max_size=6),
        st.integers(30, 40).map(lambda n: [[i % 7, i % 5, 3, 2.5] for i in range(n)]),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(images_of_boxes, st.sampled_from([1, 2**17]), st.sampled_from(['covered', 'multi', 'pairwise', 'max-iou']))
def test_many_images_at_once_as_one_by_one(images, cells, definition):
    one_by_one = dict(zip(RATIOS, FUNCTIONS, strict=True))[definition]
    images = [np.array(image, dtype=np.float64).reshape(-1, 4) for image in images]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmhybrid.occlusion.ratios.boxes.CELLS', cells)
        ratios, fractions = measure(np.concatenate(images), np.array(list(map(len, images))), definition)
    expected = np.concatenate([covered_fractions(image) for image in images])
    np.testing.assert_allclose(fractions, expected, rtol=1e-12, atol=0)
    np.testing.assert_allclose(ratios, [one_by_one(image) for image in images], rtol=1e-12, atol=0)
    assert fractions.max(initial=0) <= 1
