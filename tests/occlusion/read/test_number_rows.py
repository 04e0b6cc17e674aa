"""Results as rows of numbers, as KAIST's devkit and detectors write them."""

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.read.number_rows import is_rows


def ground_truth(ids=(7, 0, 30), categories=(0, 1, 2), boxes=()):
    annotations = [
        {'id': n, 'image_id': image_id, 'category_id': 1, 'bbox': box} for n, (image_id, box) in enumerate(boxes, 1)
    ]
    return load_ground_truth({
        'images': [{'id': i, 'file_name': f'{i}.png'} for i in ids],
        'categories': [{'id': i, 'name': f'c{i}'} for i in categories],
        'annotations': annotations,
    })  # fmt: skip


def read(tmp_path, text, gt=None):
    path = tmp_path / 'model_result.txt'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_detections(path, ground_truth() if gt is None else gt)


def test_images_count_from_one_in_the_order_of_their_ids(tmp_path):
    dt = read(tmp_path, '1,10,20,30.5,40,0.9\n3,1,2,3,4,0.25\n2,5,6,7,8,1e-3\n')
    assert dt.image_ids.tolist() == [0, 30, 7]
    assert dt.category_ids.tolist() == [1, 1, 1]
    assert dt.scores.tolist() == [0.9, 0.25, 0.001]
    np.testing.assert_array_equal(dt.boxes, [[10, 20, 30.5, 40], [1, 2, 3, 4], [5, 6, 7, 8]])
    (note,) = dt.notes
    assert 'images were counted from 1 on in the order of their ids, and the category is 1' in note


@pytest.mark.parametrize(
    'text',
    [
        '1,10,20,30,40,0.5\r\n2,10,20,30,40,0.5\r\n',
        '1.0, 10, 20 ,30,40 ,.5\n\n  \n2.000,1e1,2E+1,30.,4.0e1,5e-1',
        '\n1,10,20,30,40,+0.5\n2,10,20,30,40,0.5\n\n\n',
    ],
)
def test_ways_to_write_rows(tmp_path, text):
    dt = read(tmp_path, text)
    assert dt.image_ids.tolist() == [0, 7] and dt.scores.tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(dt.boxes, [[10, 20, 30, 40]] * 2)


@pytest.mark.parametrize(
    ('head', 'is_one'),
    [
        (b'1,2,3,4,5,0.5\n', True),
        (b'1,2,3,4,5,0.5', True),
        (b'  1.0,2,3,4,5,6', True),
        (b'1,2,3,4,5\n', False),
        (b'1,2,3,4,5,6,7\n', False),
        (b'1 2 3 4 5 6\n', False),
        (b'1.5,2,3,4,5,6\n', False),
        (b'[1,2,3,4,5,6]', False),
        (b'image,x,y,w,h,score\n', False),
        (b'', False),
    ],
)
def test_told_by_the_first_row(head, is_one):
    assert is_rows(head) == is_one


@pytest.mark.parametrize(
    ('numbers', 'shift', 'told'),
    [
        (range(1, 8), 1, True),  # from 0, without the image 0
        (range(1, 8), 0, False),  # from 1, without the last image
        (range(1, 9), 0, False),
        (range(1, 9), 1, False),  # the image 8 is none from 0
        (range(1, 3), 1, False),  # too few to tell
    ],
)
def test_rows_that_count_from_0_are_told_by_where_they_lie(tmp_path, numbers, shift, told):
    gt = ground_truth(range(8), boxes=[(i, [50 * i, 9, 20, 40]) for i in range(8)])
    rows = [f'{n},{50 * (n - 1 + shift)},9,20,39,0.9\n{n},{50 * (n - 1)},9,20,39,0.3\n' for n in numbers]
    notes = read(tmp_path, ''.join(rows), gt).notes
    assert (
        any('matches an instance on 0 images, but on 7 if images were counted from 0' in note for note in notes) == told
    )


@pytest.mark.parametrize('text', ['1 2 3 4 5 0.5\n', '1\t2\t3\t4\t5\t0.5', '1;2;3;4;5;0.5\n', '1,2,3,4,5\n', '', ' \n'])
def test_rows_parted_otherwise_are_named(tmp_path, text):
    with pytest.raises(InputError, match=r'txt: (begins with|is empty).*; give rows of image, x, .* or COCO results'):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ('2,1,2,3,4', r'rows\[1\]: has 5 numbers; give rows of image, x, y, width, height, score, separated by commas'),
        ('2,1,2,3,4,0.5,6', r'rows\[1\]: has 7 numbers'),
        ('2,1,2,x,4,0.5', r"rows\[1\]: is '2,1,2,x,4,0.5'; give rows"),
        ('2,1,2,nan,4,0.5', r"rows\[1\]: is '2,1,2,nan,4,0.5'"),
        ('2,1,2,inf,4,0.5', r"rows\[1\]: is '2,1,2,inf,4,0.5'"),
        ('2,1,2,1_0,4,0.5', r"rows\[1\]: is '2,1,2,1_0,4,0.5'"),
        ('2,1,2,3,4,', r"rows\[1\]: is '2,1,2,3,4,'"),
        ('0,1,2,3,4,0.5', r'rows\[1\]: is of image 0; ground truth has 3 images, which rows number from 1 on'),
        ('4,1,2,3,4,0.5', r'rows\[1\]: is of image 4; ground truth has 3 images'),
        ('1.5,1,2,3,4,0.5', r'rows\[1\]: is of image 1.5'),
        ('2,1,2,-3,4,0.5', 'with a negative width or height'),
    ],
)
def test_a_row_that_is_none_is_one_sentence(tmp_path, row, message):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, f'1,10,20,30,40,0.5\n{row}\n')
    assert '\n' not in str(caught.value) and 'model_result.txt' in str(caught.value)


def test_the_category_is_1_or_the_only_one(tmp_path):
    text = '1,10,20,30,40,0.5\n'
    assert read(tmp_path, text, ground_truth(categories=(5,))).category_ids.tolist() == [5]
    assert read(tmp_path, text, ground_truth(categories=(1, 5))).category_ids.tolist() == [1]
    with pytest.raises(InputError, match='has no category; ground truth has 2; give COCO results, which name it'):
        read(tmp_path, text, ground_truth(categories=(5, 6)))


def test_parts_of_one_model_are_read_as_one(tmp_path):
    paths = [tmp_path / f'{i}.txt' for i in (1, 2)]
    for i, path in enumerate(paths, 1):
        path.write_text(f'{i},10,20,30,40,0.5\n')
    assert load_detections(paths, ground_truth()).image_ids.tolist() == [0, 7]
