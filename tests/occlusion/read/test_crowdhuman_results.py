"""Results in CrowdHuman's layout: an image's ``dtboxes``, as MMDetection and CrowdDet write them."""

import copy
import gzip
import json
import pickle

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..crowds import crowd

LINES, RECORDS = crowd(1, 9)
GT = load_ground_truth([{'ID': line['ID'], 'gtboxes': line['gtboxes']} for line in LINES])
ROWS = [
    {'image_id': record['ID'], 'category_id': 1, 'bbox': row['box'], 'score': row['score']}
    for record in RECORDS
    for row in record['dtboxes']
]
SIZES = np.array([[record['height'], record['width']] for record in RECORDS], float)


def gt_of(*ids):
    """Ground truth of the same images with other categories."""
    images = [{'id': line['ID']} for line in LINES]
    return load_ground_truth({'images': images, 'annotations': [], 'categories': [{'id': i} for i in ids]})


def changed(**changes):
    """The records with a change to a detection of the third."""
    records = copy.deepcopy(RECORDS)
    row = records[2]['dtboxes'][1]
    row.update(changes)
    for key, value in changes.items():
        if value is ...:
            del row[key]
    return records


def crowddet():
    truth = [{'box': [0, 0, 9, 9], 'tag': 1.0}]
    return [{'ID': each['ID'], 'height': each['height'], 'width': each['width'], 'dtboxes': each['dtboxes'],
             'gtboxes': truth} for each in RECORDS]  # fmt: skip


def as_lines(rows):
    return ''.join(json.dumps(row) + '\n' for row in rows)


@pytest.mark.parametrize('text', [
    json.dumps(RECORDS), json.dumps(RECORDS, indent=1), as_lines(RECORDS), as_lines(crowddet()),
    as_lines(crowddet()).rstrip('\n'), json.dumps({'results': crowddet()}),
    json.dumps([record | {'dtboxes': [{**row, 'tag': 'person'} for row in record['dtboxes']]} for record in RECORDS]),
    json.dumps([record | {'dtboxes': [{'score': row['score'], 'box': row['box']} for row in record['dtboxes']]}
                for record in RECORDS]),
])  # fmt: skip
@pytest.mark.parametrize('block_size', [100, 2**20])
def test_layouts_hold_the_same(text, block_size, tmp_path):
    expected = load_detections(ROWS, GT).to_coco('bbox')
    for name, content in ('dt.json', text.encode()), ('dt.json.gz', gzip.compress(text.encode())):
        path = tmp_path / name
        path.write_bytes(content)
        found = load_detections(path, GT, block_size=block_size)
        assert found.to_coco('bbox') == expected
        np.testing.assert_array_equal(found.sizes, SIZES)
        assert f"{path}: one record an image was read, in CrowdHuman's layout" in found.notes


@pytest.mark.parametrize('end', ['', '\n', '\n\n'])
def test_a_single_line(end, tmp_path):
    """Of an image with detections, it is no longer told by a second line."""
    path = tmp_path / 'dump-30.json'
    number = next(i for i, record in enumerate(RECORDS) if record['dtboxes'])
    path.write_text(json.dumps(crowddet()[number]) + end)
    found = load_detections(path, GT)
    of_image = [row for row in ROWS if row['image_id'] == RECORDS[number]['ID']]
    assert found.to_coco('bbox') == load_detections(of_image, GT).to_coco('bbox')
    assert np.isnan(np.delete(found.sizes, number, axis=0)).all()
    assert found.sizes[number].tolist() == SIZES[number].tolist()


def test_loaded_results_stay_as_they_are():
    before = copy.deepcopy(RECORDS)
    assert load_detections(RECORDS, GT).to_coco('bbox') == load_detections(ROWS, GT).to_coco('bbox')
    assert before == RECORDS


def test_images_come_in_any_order_and_by_name():
    records = [record | {'ID': f'Images/{record["ID"]}.jpg'} for record in RECORDS[::-1]]
    found = load_detections(records, GT)
    assert sorted(found.image_ids.tolist()) == sorted(load_detections(ROWS, GT).image_ids.tolist())
    np.testing.assert_array_equal(found.sizes, SIZES)


def test_sizes_of_shards_are_put_together(tmp_path):
    paths = [tmp_path / f'rank{i}.json' for i in range(3)]
    for i, path in enumerate(paths[:2]):
        path.write_text(json.dumps(RECORDS[i::2]))
    paths[2].write_text(json.dumps(ROWS[:1]))
    np.testing.assert_array_equal(load_detections(paths, GT).sizes, SIZES)
    assert np.isnan(load_detections(paths[1:], GT).sizes[::2]).all()
    assert load_detections(paths[2], GT).sizes is None


@pytest.mark.parametrize('value', [None, 'wide', True, [4]])
def test_a_size_that_is_none_is_not_known(value):
    records = copy.deepcopy(RECORDS)
    records[4]['width'] = value
    found = load_detections(records, GT).sizes
    assert np.isnan(found[4, 1])
    np.testing.assert_array_equal(np.delete(found, 4, axis=0), np.delete(SIZES, 4, axis=0))


def test_ground_truth_may_have_sizes():
    lines = [{**line, 'width': 70, 'height': 50} for line in LINES]
    assert [(image['width'], image['height']) for image in load_ground_truth(lines).images] == [(70, 50)] * 9


def test_mmdetections_pickle_has_sizes(tmp_path):
    path = tmp_path / 'out.pkl'
    rows = []
    for record in RECORDS:
        boxes = np.array([row['box'] for row in record['dtboxes']]).reshape(-1, 4)
        found = {'bboxes': np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), 'labels': np.zeros(len(boxes), int),
                 'scores': np.array([row['score'] for row in record['dtboxes']])}  # fmt: skip
        shape = record['height'], record['width']
        rows.append({'img_id': record['ID'], 'ori_shape': shape, 'pred_instances': found})
    path.write_bytes(pickle.dumps(rows))
    found = load_detections(path, GT)
    np.testing.assert_allclose(found.boxes, load_detections(ROWS, GT).boxes, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.sizes, SIZES)


@pytest.mark.parametrize(('ids', 'category'), [((0,), 0), ((7,), 7), ((0, 1), 1)])
def test_persons_are_category_1_or_the_only_one(ids, category):
    assert set(load_detections(RECORDS, gt_of(*ids)).category_ids.tolist()) == {category}


def test_other_tags_are_category_ids():
    found = load_detections(changed(tag=2), gt_of(1, 2)).category_ids
    assert found.tolist() == [1] * (at := sum(len(each['dtboxes']) for each in RECORDS[:2]) + 1) + [2] + [1] * (
        len(ROWS) - at - 1
    )


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (changed(tag=2), "field 'category_id' is 2, which is no category"),
        (changed(tag='head'), r"results\[2\]: 'tag' is 'head', neither 1 or 'person' nor the id of a category"),
        (changed(tag=True), r"results\[2\]: 'tag' is True, neither"),
        (changed(box=...), r"results\[2\]: 'dtboxes' has \{.*\}, without 'box' and 'score'"),
        (changed(score=...), r"results\[2\]: 'dtboxes' has"),
        (changed(box=[1, 2, 3]), r"results\[2\]: field 'box' is .*, not rows of 4 finite numbers"),
        (changed(box=[1, 2, 3, '4']), "field 'box' is .*, not rows of 4 finite numbers"),
        (changed(score='0.5'), "field 'score' is .*, not finite numbers"),
        (changed(score=float('nan')), "field 'score' is .*, not finite numbers"),
        (changed(box=[1, 2, -3, 4]), "box .* has a negative width or height; give 'box' as x, y, width, height"),
        (
            [*RECORDS[:4], RECORDS[4] | {'dtboxes': None}],
            r"results\[4\]: it has no list 'dtboxes', as the first record",
        ),
        ([RECORDS[2] | {'dtboxes': [3]}], r"results\[0\]: 'dtboxes' has 3, without"),
        ([RECORDS[2] | {'ID': 'other'}], "field 'image_id' is 'other', which is no image"),
        ([{'dtboxes': RECORDS[2]['dtboxes']}], 'which is no image'),
    ],
)
def test_what_is_wrong_is_told(content, message, tmp_path):
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        load_detections(path, GT)
    assert str(caught.value).startswith(str(path))
    assert 'COCO results' not in str(caught.value)


def test_persons_have_no_masks_and_need_a_category():
    gt = load_ground_truth({'images': [{'id': '2,a', 'width': 9, 'height': 9}], 'annotations': [],
                            'categories': [{'id': 1}]}, ('segm',), ('segm',))  # fmt: skip
    with pytest.raises(InputError, match="'dtboxes' has no masks, so evaluate bbox"):
        load_detections(RECORDS[2:3], gt, ('segm',))
    with pytest.raises(InputError, match='several categories, of which none is 1'):
        load_detections(RECORDS, gt_of(2, 3))
