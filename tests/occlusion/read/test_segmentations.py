"""Masks of both sides in every form, as pycocotools reads them; what it must not see is refused."""

import copy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.checks import Records
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.read.polygons import rasterise
from mmhybrid.occlusion.read.segmentations import check_detections

from ..synthetic import SIZE, dataset

GT, _ = dataset(3, num_images=9, masks=True, many=False)


def test_boxes_alone_hold_no_masks():
    loaded = load_ground_truth(GT)
    assert loaded.sizes is None
    assert loaded.segmentations is loaded.amodal_segmentations is loaded.visible_segmentations is None


def test_segmentations_in_the_order_of_the_file():
    before = copy.deepcopy(GT)
    loaded = load_ground_truth(GT, ('bbox', 'segm'))
    assert before == GT
    assert loaded.sizes.tolist() == [[SIZE, SIZE]] * len(GT['images'])
    assert loaded.images == GT['images'] and loaded.categories == GT['categories']
    for row, segmentation in zip(GT['annotations'], loaded.segmentations, strict=True):
        if row['iscrowd']:
            assert segmentation == mask.merge([segmentation])  # pycocotools takes it as it is
            assert segmentation['counts'] == row['segmentation']['counts'].encode()
        else:
            assert segmentation == row['segmentation']
    assert {row['iscrowd'] for row in GT['annotations']} == {0, 1}


def test_uncompressed_counts_become_compressed():
    gt = copy.deepcopy(GT)
    for row in gt['annotations']:
        row['segmentation'] = {'size': [SIZE, SIZE], 'counts': [5, row['id'], SIZE**2 - 5 - row['id']]}
    loaded = load_ground_truth(gt, ('segm',))
    assert mask.area(loaded.segmentations).tolist() == [row['id'] for row in gt['annotations']]


def test_sizes_are_those_of_each_image():
    gt = copy.deepcopy(GT)
    for image in gt['images']:
        image.update(height=image['id'] + 100, width=image['id'] + 200)
    for row in gt['annotations']:
        row['segmentation'] = [[0, 0, 5, 0, 5, 5]]
    loaded = load_ground_truth(gt, ('segm',))
    assert loaded.sizes.tolist() == [[image['id'] + 100, image['id'] + 200] for image in gt['images']]


@pytest.mark.parametrize('where', [0, -1])
@pytest.mark.parametrize(
    'value', [3, 'x', True, [[1, 2, 3, 4, 5, None]], [[1, 2, 3, 4, 5, True]], [[1, 2, 3, 4, 5, float('nan')]],
              [[1, 2, 3, 4, 5, 10**400]], [(1, 2, 3, 4, 5, 6)], [['1', 2, 3, 4, 5, 6]], [[[1, 2], [3, 4], [5, 6]]],
              [[1, 2], [3, 4], [5, 6]],
              [[1, 2, 3, 4, 5, 10**7]], [[1, 2, 3, 4, 5, -(10**7)]], [[0, 0, 400, 0] * 2000], {}],
)  # fmt: skip
def test_one_wrong_polygon_among_many(where, value):
    gt = copy.deepcopy(GT)
    polygons = [row for row in gt['annotations'] if not row['iscrowd']]
    polygons[where]['segmentation'] = value
    with pytest.raises(InputError, match=rf"\(id {polygons[where]['id']}\): field 'segmentation'"):
        load_ground_truth(gt, ('segm',))


def test_boxes_and_pairs_are_no_polygons_and_lines_no_masks():
    """What has too few points is no mask, unless it has another meaning: then it would be one that is lost."""
    gt = copy.deepcopy(GT)
    row = next(row for row in gt['annotations'] if not row['iscrowd'])
    x, y, width, height = row['bbox']
    for value in [[x, y, width, height]], [x, y, width, height], [[round(x), round(y), round(width), round(height)]]:
        row['segmentation'] = value
        with pytest.raises(InputError, match=r"field 'segmentation' is \[.*, the record's box, and no polygon; give"):
            load_ground_truth(gt, ('segm',))
        with pytest.raises(InputError, match=r"results\[0\] .*: field 'segmentation' is .*, the record's box"):
            check_detections(Records('dt.json', 'results', [row]), np.full((1, 2), SIZE))
    for value in [[x, y, x + width, y + height]], [[3, 4], [5, 6]], [[x, y, width, height, 1]]:
        row['segmentation'] = value
        (note,) = load_ground_truth(gt, ('segm',), ('segm',)).notes
        assert f"1 of {len(gt['annotations'])} annotations have no 'segmentation', or one that is empty" in note


def test_points_up_to_one_image_outside():
    gt = copy.deepcopy(GT)
    outside = [[-SIZE, 0, 2.0 * SIZE, 0, 5, 2 * SIZE], [1, 2, 3, 4, 5, 6]]
    next(row for row in gt['annotations'] if not row['iscrowd'])['segmentation'] = outside
    loaded = load_ground_truth(gt, ('segm',))
    assert outside in loaded.segmentations and loaded.notes == ()
    assert isinstance(loaded.sizes, np.ndarray)


coordinate = st.one_of(st.integers(-20, 80), st.floats(-300, 300), st.sampled_from([1000, -9999.5]))
shapes = st.lists(st.lists(coordinate, max_size=11), min_size=1, max_size=3).filter(
    lambda shape: list(map(len, shape)) != [2, 2, 2]  # a polygon as pairs, which is refused
)


def plainly_drawn(value):
    """What pycocotools draws; what it refuses, points and lines alone, has no pixel."""
    drawn = [polygon for polygon in value if len(polygon) > 4]
    if not drawn:
        return mask.encode(np.zeros((SIZE, SIZE), dtype=np.uint8, order='F'))
    return mask.merge(mask.frPyObjects(drawn, SIZE, SIZE))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(shapes, min_size=1, max_size=4))
def test_polygons_are_drawn_as_by_pycocotools(values):
    """On both sides, with any number of coordinates, near and far outside; each within its extent."""
    gt = {
        'images': [{'id': 1, 'height': SIZE, 'width': SIZE}],
        'categories': [{'id': 1}],
        'annotations': [{'id': i, 'image_id': 1, 'category_id': 1, 'segmentation': v} for i, v in enumerate(values)],
    }
    gt['annotations'].append({'id': 9, 'image_id': 1, 'category_id': 1, 'segmentation': [[0, 0, 9, 0, 9, 9]]})
    loaded = load_ground_truth(gt, ('segm',), ('segm',))
    expected = [plainly_drawn(row['segmentation']) for row in gt['annotations']]
    sizes = np.full((len(expected), 2), SIZE)
    drawn = rasterise(loaded.segmentations, sizes)
    assert mask.area(drawn).tolist() == mask.area(expected).tolist() == loaded.areas.tolist()
    results = check_detections(Records('dt.json', 'results', gt['annotations']), sizes)[0].take()
    for pixels, one, other, extent in zip(map(mask.decode, expected), drawn, results, loaded.extents, strict=True):
        assert (mask.decode(one) == pixels).all() and (mask.decode(other) == pixels).all()
        rows, columns = np.nonzero(pixels)
        if len(rows):
            assert extent[0] <= columns.min() and extent[1] <= rows.min()
            assert columns.max() < extent[2] and rows.max() < extent[3]
    assert loaded.boxes.tolist() == mask.toBbox(expected).tolist()
    stray = sum(any(len(p) % 2 or len(p) < 6 for p in v) and any(len(p) > 5 for p in v) for v in values)
    assert sum('too few points' in note for note in loaded.notes) == bool(stray)


def test_notes_on_polygons():
    gt = copy.deepcopy(GT)
    polygons = [row for row in gt['annotations'] if not row['iscrowd']]
    whole = polygons[0]['segmentation'][0]
    for row, value in zip(polygons, ([[*whole, 3]], [whole, [3, 4]], [[-9, -9, -5, -9, -5, -3]]), strict=False):
        row['segmentation'] = value
    polygons[3]['segmentation'] = [[-900, -9, -500, -9, -5, -3]]
    stray, outside = load_ground_truth(gt, ('segm',)).notes
    total = len(gt['annotations'])
    assert stray.startswith(
        f'ground truth: 2 of {total} annotations have polygons with too few points or an odd number'
    )
    assert outside.startswith(f"ground truth: 2 of {total} annotations have a 'segmentation' of polygons outside")
    rows = gt['annotations'] + [{'segmentation': []}, {'segmentation': [whole[:5]]}]
    _, notes = check_detections(Records('dt.json', 'results', rows), np.full((len(rows), 2), SIZE))
    assert [note[: len('dt.json: 2 of')] for note in notes] == ['dt.json: 2 of'] * 3
    assert "results have no 'segmentation', or one that is empty or of points and lines alone" in notes[2]


RLE = mask.encode(np.asfortranarray(np.random.default_rng(0).random((20, 30)) < 0.4, dtype=np.uint8))


def uncompressed(rle):
    pixels = mask.decode(rle).ravel(order='F').astype(int)
    edges = np.flatnonzero(np.diff(pixels, prepend=0, append=pixels[-1] ^ 1))
    return np.diff(edges, prepend=0).tolist()


FORMS = {
    'bytes': RLE,
    'text': {**RLE, 'counts': RLE['counts'].decode()},
    'printed bytes': {**RLE, 'counts': str(RLE['counts'])},
    'bytes printed with the other quotes': {**RLE, 'counts': 'b"' + RLE['counts'].decode().replace('\\', r'\\') + '"'},
    'list of runs': {**RLE, 'counts': uncompressed(RLE)},
    'list of floats': {**RLE, 'counts': [float(run) for run in uncompressed(RLE)]},
    'size of floats': {**RLE, 'size': [20.0, 30.0]},
    'size as a tuple': {**RLE, 'size': (20, 30)},
    'other fields': {**RLE, 'x': 1},
}


@pytest.mark.parametrize('form', FORMS)
def test_forms_of_run_lengths(form):
    records = Records('dt.json', 'results', [{'segmentation': RLE}, {'segmentation': FORMS[form]}])
    assert check_detections(records, np.array([[20, 30]] * 2))[0].take() == [RLE, RLE]


BROKEN = {
    'swapped': ({**RLE, 'size': [30, 20]}, r'size \[30, 20\], .* is \[20, 30\]: width and height are swapped'),
    'another size': ({**RLE, 'size': [20, 31]}, r"size \[20, 31\], where the image's \[height, width\] is \[20, 30\];"),
    'half a pixel': ({**RLE, 'size': [20.5, 30]}, 'has the size'),
    'no size': ({'counts': RLE['counts']}, 'has the size None'),
    'no counts': ({'size': [20, 30]}, 'has the counts None'),
    'empty': ({**RLE, 'counts': ''}, 'has the counts'),
    'empty bytes, printed': ({**RLE, 'counts': "b''"}, 'has the counts'),
    'code, printed': ({**RLE, 'counts': "b'a'.x()"}, 'counts that do not fill'),
    'nested, printed': ({**RLE, 'counts': "b'a'+" + '(' * 10_000}, 'counts that do not fill'),
    'not ASCII': ({**RLE, 'counts': 'é'}, 'has the counts'),
    'cut': ({**RLE, 'counts': RLE['counts'][:-1]}, 'counts that do not fill'),
    'negative': ({**RLE, 'counts': [-1, 601]}, 'counts that do not fill'),
    'too long': ({**RLE, 'counts': [601]}, 'counts that do not fill'),
    'huge': ({**RLE, 'counts': [2**63 - 1, 2**63 - 1, 602]}, 'counts that do not fill'),
    'halves': ({**RLE, 'counts': [299.5, 300.5]}, 'counts that do not fill'),
}


@pytest.mark.parametrize('kind', BROKEN)
def test_run_lengths_that_never_reach_pycocotools(kind):
    value, sentence = BROKEN[kind]
    rows = [{'segmentation': each} for each in (RLE, value, RLE, value)]
    with pytest.raises(
        InputError, match=rf"dt.json: 2 records, the first is results\[1\]: field 'segmentation' .*{sentence}"
    ):
        check_detections(Records('dt.json', 'results', rows), np.array([[20, 30]] * 4))
