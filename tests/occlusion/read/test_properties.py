"""A user's own property: every image exactly one value, or one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.read.properties import read_property

CONTENT = {
    'images': [{'id': 5, 'file_name': 'a.jpg'}, {'id': 2, 'file_name': 'b.jpg'}, {'id': 9, 'file_name': 'c.jpg'}],
    'categories': [{'id': 1, 'name': 'x'}],
    'annotations': [],
}
GT = load_ground_truth(CONTENT)


def write(folder, name, text):
    path = Path(folder, name)
    path.write_text(text, encoding='utf-8')
    return path


def test_numbers_by_image_id_in_the_ground_truths_order(tmp_path):
    path = write(tmp_path, 'crowding.json', '{"2": 0.5, "9": 3, "5": 1e-3}')
    assert read_property(GT, path)[:2] == ('crowding', {5: 0.001, 2: 0.5, 9: 3.0})
    assert list(read_property(GT, path)[1]) == [5, 2, 9]


def test_labels_by_file_name(tmp_path):
    path = write(tmp_path, 'rain.json', json.dumps({'a.jpg': True, 'b.jpg': False, 'c.jpg': True}))
    assert read_property(GT, path)[1] == {5: 'true', 2: 'false', 9: 'true'}
    assert read_property(GT, path, 'wet')[0] == 'wet'


def test_labels_that_python_reads_as_numbers(tmp_path):
    path = write(tmp_path, 'x.csv', 'id,block\n5,1_0\n2,2_0\n9,1_0\n')
    assert read_property(GT, path).values == {5: '1_0', 2: '2_0', 9: '1_0'}
    path = write(tmp_path, 'x.csv', 'id,light\n5,night\n2,nan\n9,Inf\n')
    assert read_property(GT, path).values == {5: 'night', 2: 'nan', 9: 'Inf'}
    path = write(tmp_path, 'x.csv', 'id,people\n5,1\n2,nan\n9,2\n')
    with pytest.raises(InputError, match="image '2' has the value 'nan', while others have numbers"):
        read_property(GT, path)


def test_a_mapping_in_memory():
    assert read_property(GT, {5: 'night', 2: 'day', 9: 'day'})[:2] == ('value', {5: 'night', 2: 'day', 9: 'day'})
    numbers = read_property(GT, {np.int64(5): np.int64(1), 2: np.float32(0.5), 9: 3}).values
    assert numbers == {5: 1, 2: 0.5, 9: 3} and set(map(type, numbers.values())) == {float}
    labels = read_property(GT, {5: np.True_, 2: False, 9: np.str_('false')}).values
    assert labels == {5: 'true', 2: 'false', 9: 'false'} and set(map(type, labels.values())) == {str}
    with pytest.raises(InputError, match=r'image 2 has the value .*nan'):
        read_property(GT, {5: 1, 2: np.float32('nan'), 9: 3})


@pytest.mark.parametrize('key', ['image_id', 'id'])
def test_csv_by_id(tmp_path, key):
    path = write(tmp_path, 'x.csv', f'{key},light\n5,night\n\n9,day\n2,"day, cloudy"\n')
    assert read_property(GT, path)[:2] == ('light', {5: 'night', 2: 'day, cloudy', 9: 'day'})


def test_csv_with_several_columns(tmp_path):
    path = write(tmp_path, 'x.csv', '\ufefffile_name,light,people\na.jpg,night,3\nb.jpg,day,0\nc.jpg,day,11\n')
    assert read_property(GT, path, 'people')[:2] == ('people', {5: 3.0, 2: 0.0, 9: 11.0})
    with pytest.raises(InputError, match=r"'light', 'people'.* one of values, or the name of one"):
        read_property(GT, path)
    with pytest.raises(InputError, match="needs a column 'image_id' or 'file_name' and one 'fog'"):
        read_property(GT, path, 'fog')


@pytest.mark.parametrize(
    'keys', [['0005', '02', '9'], ['5.0', '2.0', '9.0'], ['a', 'b', 'c'], ['x/a.jpg', 'b.jpg', 'c.jpg']]
)
@pytest.mark.parametrize('extra', [0, 3])
def test_keys_in_other_forms_and_of_more_images(tmp_path, keys, extra):
    """Labels of a larger set serve a part of it; a note says how many were of no use."""
    values = dict(zip(keys, ('x', 'y', 'z'), strict=True)) | {f'{100 + i}': 'w' for i in range(extra)}
    paths = [write(tmp_path, 'v.json', json.dumps(values))]
    paths.append(write(tmp_path, 'v.csv', 'image_id,v\n' + '\n'.join(map(','.join, values.items()))))
    for path in paths:
        name, found, notes = read_property(GT, path)
        assert (name, found) == ('v', {5: 'x', 2: 'y', 9: 'z'})
        by_name = ["images were matched by 'file_name'"] if keys[0][-1] not in '50' else []
        unknown = [f'3 of 6 entries are of no image of ground truth, the first is {"100"!r}'] if extra else []
        for note, part in zip(notes, by_name + unknown, strict=True):
            assert note.startswith(f'{path}: {part}')


def test_images_whose_ids_are_text():
    gt = load_ground_truth({**CONTENT, 'images': [{'id': 'b'}, {'id': 'a'}]})
    assert read_property(gt, {'a': 1, 'b': 2}).values == {0: 2.0, 1: 1.0}
    with pytest.raises(InputError, match="1 of 2 images have no value, the first is image 'b'"):
        read_property(gt, {'a': 1, 1: 2})


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('x.json', '[1, 2]', 'no JSON object'),
        ('x.json', '[[1, 2]]', 'no JSON object'),
        ('x.json', '{"5": 1', r"cannot be read \(Expecting ',' delimiter"),
        ('x.json', '{"5": 1, "2": 2}', '1 of 3 images have no value, the first is image 9'),
        ('x.json', '{"5": 1, "a.jpg": 2}', '2 of 3 images have no value'),
        ('x.json', '{"5": 1, "05": 2, "2": 1, "9": 3}', r"entries\[1\]: image '05' has the value 2, and"),
        ('x.json', '{"5": 1, "5": 2, "2": 1, "9": 1}', 'the value 2, and another before; give every image one'),
        ('x.json', '{"7": 1}', "'7' is no image"),
        ('x.json', '{"5": NaN, "2": 1, "9": 1}', 'value nan'),
        ('x.json', '{"5": null}', 'value None'),
        ('x.json', '{"5": {"a": 1}}', 'give a finite number, or a label'),
        ('x.json', '{"5": 1' + '0' * 400 + '}', 'give a finite number, or a label'),
        ('x.json', '{"5": "all"}', "'all', which names all images"),
        ('x.json', '{"5": 1, "2": "night", "9": 2}', "image '2' has the value 'night', while others have numbers"),
        ('x.csv', '', 'the heading is'),
        ('x.csv', 'name,light\n5,day\n', 'the heading is'),
        ('x.csv', 'image_id\n5\n', 'the heading is'),
        ('x.csv', 'image_id,light\n5\n', 'line 2 has 1 cells'),
        ('x.csv', 'image_id,light\n5,\n', "value ''"),
        ('x.json', '{"5": 1, "2": null, "9": Infinity}', r'2 records, the first is entries\[1\]'),
        ('x.csv', 'image_id,light,light\n5,1,1\n', 'one of values'),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(tmp_path, name, text, message):
    path = write(tmp_path, name, text)
    with pytest.raises(InputError, match=message) as error:
        read_property(GT, path)
    assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_a_missing_file_and_too_many_labels(tmp_path):
    with pytest.raises(InputError, match=r'gone\.json: cannot be read'):
        read_property(GT, tmp_path / 'gone.json')
    many = load_ground_truth({**CONTENT, 'images': [{'id': i} for i in range(1, 100)]})
    with pytest.raises(InputError, match='99 different labels'):
        read_property(many, {i: f'label {i}' for i in range(1, 100)})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(['x.json', 'x.csv']), data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_file_gives_values_or_one_sentence(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    try:
        read_property(GT, path)
    except InputError as error:
        assert '\n' not in str(error)
