"""One model's results in the forms that programs write them: all give what the plain list gives, or are named."""

import copy
import gzip
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..synthetic import CATEGORIES, dataset

GT, DT = dataset(3, num_images=6, masks=True, many=False)
DT = sorted(DT, key=lambda row: row['image_id'])
for _row in DT:  # detectors clip their boxes
    _row['bbox'] = [round(max(value, 0), 2) for value in _row['bbox']]
CHECKED = load_ground_truth(GT, ('segm',))
BOTH = ('bbox', 'segm')
PLAIN = load_detections(DT, CHECKED, BOTH)


def images():
    found = {}
    for row in DT:
        found.setdefault(row['image_id'], []).append(row)
    empty = [image['id'] for image in GT['images'] if image['id'] not in found]
    return found | {image_id: [] for image_id in empty}


def without(rows, *names):
    return [{key: value for key, value in row.items() if key not in names} for row in rows]


def lists(boxes='boxes', corners=False, scores='scores', labels='labels', masks='masks'):
    """One record an image."""
    found = []
    for image_id, rows in images().items():
        given = [row['bbox'] for row in rows]
        given = [[x, y, x + w, y + h] for x, y, w, h in given] if corners else given
        found.append(
            {
                'image_id': image_id,
                boxes: given,
                labels: [row['category_id'] for row in rows],
                scores: [row['score'] for row in rows],
                masks: [row['segmentation'] for row in rows],
            }
        )
    return found


FORMS = {
    'predictions': lambda: {'predictions': DT},
    'results and more': lambda: {'info': {'model': 'x'}, 'results': DT, 'time': [1, 2]},
    'detections': lambda: {'detections': DT},
    'annotations with scores': lambda: GT | {'annotations': [{'id': i} | row for i, row in enumerate(DT)]},
    'by image': lambda: {str(key): without(rows, 'image_id') for key, rows in images().items()},
    'by image with ids': lambda: {str(key): rows for key, rows in images().items()},
    'by image in lists': lambda: {str(row.pop('image_id')): row for row in lists('boxes_xywh')},
    'nested': lambda: [{'image_id': key, 'detections': without(v, 'image_id')} for key, v in images().items()],
    'nested with ids': lambda: [{'image_id': key, 'instances': rows} for key, rows in images().items()],
    'wrapped and nested': lambda: {'predictions': [{'image_id': k, 'predictions': v} for k, v in images().items()]},
    'lists of x, y, width, height': lambda: lists('boxes_xywh'),
    'lists of bbox': lambda: lists('bbox', scores='score', labels='category_id', masks='segmentation'),
    'wrapped lists': lambda: {'results': lists('bboxes_xywh', labels='category_ids')},
}


def forms(tmp_path, content):
    """The loaded content, and files of several layouts."""
    yield content
    path = tmp_path / 'dt.json'
    for text in (json.dumps(content), json.dumps(content, indent=1)):
        path.write_text(text)
        yield path
    if isinstance(content, list):
        path.write_bytes(gzip.compress('\n'.join(map(json.dumps, content)).encode()))
        yield path


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('iou_types', [('bbox',), ('segm',), BOTH])
def test_forms_hold_the_same(tmp_path, form, iou_types):
    before = copy.deepcopy(DT)
    order = {image_id: position for position, image_id in enumerate(images())}
    expected = load_detections(sorted(DT, key=lambda row: order[row['image_id']]), CHECKED, iou_types)
    for given_form in forms(tmp_path, FORMS[form]()):
        for block_size in (64, 2**20):
            found = load_detections(given_form, CHECKED, iou_types, block_size)
            for iou_type in iou_types:
                assert found.to_coco(iou_type) == expected.to_coco(iou_type)
            assert any('detections are those under' in note or 'one record an image' in note for note in found.notes)
    assert before == DT


def test_corners_are_seen(tmp_path):
    """By the field's name, or where boxes would leave their images otherwise; the numbers are of the sums."""
    corners = np.array([[x, y, x + w, y + h] for x, y, w, h in (row['bbox'] for row in DT)])
    expected = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    order = np.argsort([list(images()).index(row['image_id']) for row in DT], kind='stable')
    for name in ('boxes', 'bboxes', 'boxes_xyxy', 'bboxes_xyxy'):
        for content in forms(tmp_path, lists(name, corners=True)):
            found = load_detections(content, CHECKED, ('bbox',), 100)
            assert np.array_equal(found.boxes, expected[order])
            assert 'boxes as x1, y1, x2, y2' in found.notes[0]
    found = load_detections(lists('boxes'), CHECKED)
    assert np.array_equal(found.boxes, PLAIN.boxes[order]) and 'boxes as x, y, width, height' in found.notes[0]


def test_arrays():
    rows = [{key: np.array(row[key]) if key != 'masks' else row[key] for key in row} for row in lists('boxes_xywh')]
    assert len(load_detections([row | {'image_id': int(row['image_id'])} for row in rows], CHECKED)) == len(DT)


def changed(**changes):
    row = {'image_id': GT['images'][0]['id'], 'boxes_xywh': [[1, 2, 3, 4]], 'labels': [CATEGORIES[0]], 'scores': [0.5]}
    return [row | changes]


REFUSED = {
    'two names': (
        [*changed(), {'image_id': GT['images'][1]['id'], 'boxes_xyxy': [[1, 2, 3, 4]], 'labels': [3], 'scores': [1]}],
        'has boxes in the fields boxes_xywh and boxes_xyxy',
    ),
    'corners turned': (
        [{'image_id': GT['images'][0]['id'], 'boxes_xyxy': [[5, 5, 1, 9]], 'labels': [3], 'scores': [1]}],
        'negative width or height',
    ),
    'unknown image': (changed(image_id=10**7), r"detections\[0\]: field 'image_id' is 10000000"),
    'no image': ([{'boxes_xywh': [[1, 2, 3, 4]], 'labels': [3], 'scores': [1]}] * 2, "field 'image_id' is None, which"),
    'unknown category': (changed(labels=[0]), r"detections\[0\]: field 'category_id' is 0, which is no category"),
    'two labels': (changed(labels=[3, 7]), r"'labels' is \[3, 7\], not a list of 1, as many as there are scores"),
    'a name for a label': (changed(labels=['dog']), r"'labels' is \['dog'\], not whole numbers"),
    'ragged boxes': (changed(boxes_xywh=[[1, 2, 3]]), r"'boxes_xywh' is \[\[1, 2, 3\]\], not rows of 4 finite numbers"),
    'score of text': (changed(scores=['0.5']), 'not finite numbers'),
    'not finite': (changed(scores=[float('nan')]), r"'scores' is \[nan\], not finite numbers"),
    'no list': ([*changed(), 3], r'results\[1\]: 3 is not an object'),
    'two wrappers': ({'predictions': DT, 'results': DT}, "an object with .*'predictions'.*'results'"),
    'another wrapper': ({'model': 'x', 'dt': DT}, "must be a JSON list of detections, found an object with .*'model'"),
    'ground truth': (GT, 'looks like a ground-truth file'),
    'metrics': ({'results': {'bbox': {'AP': 0.3}}}, "found an object with .*'results'"),
    'unknown images': ({'x.jpg': DT}, "found an object with .*'x.jpg'"),
    'some unknown images': (
        {str(GT['images'][0]['id']): DT[:1], 'x.jpg': without(DT, 'image_id')},
        f"{len(DT)} records, the first is results\\[1\\]: field 'image_id' is 'x.jpg'",
    ),
    'number': (3, 'must be a JSON list of detections, found 3'),
    'annotations of something else': ({'annotations': [1]}, "found an object with .*'annotations'"),
    'scores for none': (changed(scores=[]), r"field 'labels' is \[\d+\], not a list of 0, as many"),
    'boxes for none': (changed(scores=[], labels=[]), r"'boxes_xywh' is \[\[1, 2, 3, 4\]\], not a list of 0, as many"),
    'images without scores': ([*changed(), {'image_id': 1}], r'results\[1\]: it has no list of scores, as the first'),
    'names that only some are known of': (
        {
            'annotations': DT,
            'categories': [{'id': CATEGORIES[0], 'name': str(CATEGORIES[1])}, {'id': CATEGORIES[1], 'name': 'x'}],
        },
        "its own 'categories' have other ids for 1 of 2 names than ground truth, which lacks 1 of them",
    ),
}


@pytest.mark.parametrize('content, sentence', REFUSED.values(), ids=REFUSED)
def test_other_forms_are_named(tmp_path, content, sentence):
    for source in forms(tmp_path, content):
        with pytest.raises(InputError, match=sentence) as caught:
            load_detections(source, CHECKED)
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize('block_size', [100, 2**20])
def test_a_row_of_another_form_hides_none_behind_it(tmp_path, block_size):
    rows = copy.deepcopy(DT)
    rows[0]['score'] = []
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"results\[0\]: field 'category_id' is \d+, not a list of 0"):
        load_detections(path, load_ground_truth(GT), block_size=block_size)


def test_a_detection_in_the_record_of_another_image(tmp_path):
    """Its own id counts; that is not told of an id which is only written in another way."""
    first, rows = GT['images'][0], [DT[0], DT[-1]]
    contrary = sum(row['image_id'] != first['id'] for row in rows)
    for key in (first['id'], f'{first["id"]:06}', float(first['id'])):
        for content in ([{'image_id': key, 'predictions': rows}], {str(key): rows}):
            for source in forms(tmp_path, content):
                found = load_detections(source, CHECKED)
                assert found.to_coco('bbox') == load_detections(rows, CHECKED).to_coco('bbox')
                assert any(f"{contrary} detections have another 'image_id'" in note for note in found.notes)


def test_boxes_that_may_be_either_are_refused(tmp_path):
    row = {'image_id': GT['images'][0]['id'], 'boxes': [[1, 2, 30, 40]] * 30, 'labels': [3] * 30, 'scores': [0.5] * 30}
    for content in forms(tmp_path, [row]):
        with pytest.raises(InputError, match=r"may be x1, y1, x2, y2 \(0 of 30 are no corners\) .* 'boxes_xywh' or"):
            load_detections(content, CHECKED)


JUNK = st.sampled_from([None, 3, -1.5, True, 'x', [], {}, [[]], [[1, 2]], [0.5], [None], {'a': 1}, 10**30])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FORMS)), st.data())
def test_no_other_error_whatever_a_form_holds(tmp_path, form, data):
    content = copy.deepcopy(FORMS[form]())
    target, steps = content, data.draw(st.integers(1, 4))
    for step in range(steps):
        keys = sorted(target, key=str) if isinstance(target, dict) else range(len(target))
        if not keys:
            break
        key = data.draw(st.sampled_from(list(keys)))
        if step == steps - 1 or not isinstance(target[key], dict | list):
            if data.draw(st.booleans()):
                target[key] = data.draw(JUNK)
            else:
                del target[key]
            break
        target = target[key]
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(content))
    outcomes = []
    for source in (content, path):
        try:
            outcomes.append(load_detections(source, CHECKED, BOTH).to_coco('bbox'))
        except InputError as error:
            assert '\n' not in str(error)
            outcomes.append(str(error).partition(': ')[2])
    assert outcomes[0] == outcomes[1]
