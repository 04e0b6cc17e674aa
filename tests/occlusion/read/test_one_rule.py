"""A file is read by one rule, however long it is: ids of images, sizes of masks, notes."""

import json

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read import wrappers
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from .test_mmdet_pickle import written

# Ids are counted from 0, names of files from 1, and results have the latter: only the last shows it.
IMAGES = [{'id': i, 'file_name': f'{i + 1:04}.jpg', 'height': 40 + i % 5, 'width': 50 + i % 7} for i in range(30)]
BOXES = [[i % 9, i % 8, 20, 10] for i in range(30)]
CHECKED = load_ground_truth({'images': IMAGES, 'categories': [{'id': 1, 'name': 'a'}], 'annotations': []}, ('segm',))
ROWS = [
    {
        'image_id': i + 1,
        'category_id': 1,
        'score': 0.5,
        'bbox': [x, y, w, h],
        'segmentation': [[x, y, x + w, y, x + w, y + h, x, y + h]],
    }
    for i, (x, y, w, h) in enumerate(BOXES)
]
FORMS = {
    'records': ROWS,
    'nested': [{'image_id': row['image_id'], 'predictions': [row]} for row in ROWS],
    'per image': [
        {
            'image_id': row['image_id'],
            'labels': [1],
            'scores': [0.5],
            'bbox': [row['bbox']],
            'masks': [row['segmentation']],
        }
        for row in ROWS
    ],
    'by image': {str(row['image_id']): [row] for row in ROWS},
}


def sources(folder, content):
    """Content, and files that hold it in several layouts."""
    yield content
    path = folder / 'dt.json'
    path.write_text(json.dumps(content))
    yield path
    if isinstance(content, list):
        path.write_text('\n'.join(map(json.dumps, content)))
        yield path


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('block_size', [100, 2**20])
def test_ids_and_masks(tmp_path, monkeypatch, form, block_size):
    monkeypatch.setattr(wrappers, 'SLICE', 4)
    for source in sources(tmp_path, FORMS[form]):
        found = load_detections(source, CHECKED, ('bbox', 'segm'), block_size)
        assert found.image_ids.tolist() == list(range(30))
        assert found.boxes.tolist() == BOXES
        assert found.masks.sizes.tolist() == [[image['height'], image['width']] for image in IMAGES]
        assert found.masks.areas.tolist() == [200] * 30
        assert sum('the number that it is' in note for note in found.notes) == 1


@pytest.mark.parametrize('form', ['records', 'nested', 'per image'])
def test_masks_are_noted_once_with_their_total(tmp_path, monkeypatch, form):
    monkeypatch.setattr(wrappers, 'SLICE', 4)
    content = json.loads(json.dumps(FORMS[form]))
    for row in content[3::4]:
        row['predictions' if form == 'nested' else 'segmentation' if form == 'records' else 'masks'] = (
            [row['predictions'][0] | {'segmentation': []}] if form == 'nested' else [] if form == 'records' else [[]]
        )
    for source in sources(tmp_path, content):
        notes = [note for note in load_detections(source, CHECKED, ('segm',), 100).notes if 'empty' in note]
        assert len(notes) == 1 and '7 of 30' in notes[0]


def test_encodings_and_polygons_in_one_file(tmp_path):
    rle = {'size': [44, 54], 'counts': [10, 44 * 54 - 10]}
    rows = [row | {'segmentation': rle} if i % 35 == 4 else row for i, row in enumerate(ROWS)]
    for source in sources(tmp_path, rows):
        areas = load_detections(source, CHECKED, ('segm',), 100).masks.areas.tolist()
        assert areas == [200] * 4 + [44 * 54 - 10] + [200] * 25
    rows[4] = rows[4] | {'segmentation': rle | {'size': [54, 44]}}
    for source in sources(tmp_path, rows):
        with pytest.raises(InputError, match=r'results\[4\]: .* size \[54, 44\].*width and height are swapped'):
            load_detections(source, CHECKED, ('segm',), 100)


def test_an_image_that_is_twice_there(tmp_path):
    for form in ('nested', 'per image'):
        for source in sources(tmp_path, [*FORMS[form], *FORMS[form][:2]]):
            notes = load_detections(source, CHECKED, block_size=100).notes
            assert sum('2 records are of an image that another is of too' in note for note in notes) == 1


@pytest.mark.parametrize('content', [[], {}, {'annotations': []}, {'images': IMAGES, 'annotations': []}])
def test_no_detection_is_a_result_in_every_form(tmp_path, content):
    for source in sources(tmp_path, content):
        if isinstance(source, list | dict) or source.read_text():  # no JSON lines at all are no file of results
            assert len(load_detections(source, CHECKED, ('bbox', 'segm'))) == 0


def test_own_categories_and_images_of_a_set(tmp_path):
    categories = [{'id': 4, 'name': 'b'}, {'id': 9, 'name': 'a'}]
    gt = {'images': IMAGES, 'categories': [{'id': 9, 'name': 'b'}, {'id': 4, 'name': 'a'}], 'annotations': []}
    images = [image | {'id': 100 - image['id']} for image in IMAGES]
    rows = [row | {'image_id': 101 - row['image_id'], 'category_id': 4} for row in ROWS]
    for source in sources(tmp_path, {'images': images, 'categories': categories, 'predictions': rows}):
        found = load_detections(source, load_ground_truth(gt))
        assert found.image_ids.tolist() == list(range(30)) and found.category_ids.tolist() == [9] * 30
        assert any("'images' have other ids for 30 of 30 names" in note for note in found.notes)
        assert any("'categories' have other ids for 1 of 1 names" in note for note in found.notes)


def test_a_wrapper_on_one_line_is_not_decoded_whole(tmp_path, monkeypatch):
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps({'model': {'x': 1}, 'predictions': [row | {'image_id': 0} for row in ROWS]}))
    monkeypatch.setattr(wrappers.json, 'loads', None)
    assert len(load_detections(path, CHECKED, block_size=1000)) == 30


@pytest.mark.parametrize('name', ['scores', 'labels', 'bbox'])
def test_lists_that_share_others_fill_no_memory(name):
    long, deep, text = [0.5] * 10**5, [0.5] * 5, 'x' * 10**5
    for _ in range(30):
        deep = [deep] * 5
    for value in ([long] * 10**5, deep, [text] * 10**5, [np.zeros(10**5)] * 10**5):
        row = {'image_id': 1, 'scores': [0.5], 'labels': [1], 'bbox': [[1, 2, 3, 4]]} | {name: value}
        with pytest.raises(InputError, match=f"'{name}' is .*, not (finite numbers|a list of 1)"):
            load_detections([row], CHECKED)


def test_json_named_as_a_pickle(tmp_path):
    path = tmp_path / 'dt.pkl'
    path.write_text(json.dumps(ROWS))
    assert len(load_detections(path, CHECKED)) == 30


def test_an_image_without_predictions_of_mmdetection_2(tmp_path):
    path = written(tmp_path, [None, *[[np.zeros((1, 5))]] * 29])
    with pytest.raises(InputError, match=r'results\[0\]: None is not one array of .* for each of the 1 categories'):
        load_detections(path, CHECKED)


def test_a_note_on_loaded_results_names_them_once():
    rows = [row | {'bbox': [40, 30, 60, 60]} for row in ROWS]
    assert any(note.startswith('results: 30 of 30 boxes') for note in load_detections(rows, CHECKED).notes)
