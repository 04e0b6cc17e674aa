"""Images by whatever a file calls them: all by one rule, and never by a guess."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.ids import ImageIds

IMAGES = [
    {'id': 12, 'file_name': 'val/a.b.jpg'},
    {'id': 5, 'file_name': 'val\\0007.jpg'},
    {'id': 0, 'file_name': 'train/0009.png'},
    {'id': -3},
]
IDS = ImageIds(IMAGES, 'gt.json')


@pytest.mark.parametrize(
    'values',
    [
        [12, 5, 0, -3],
        np.array([12, 5, 0, -3]),
        [12.0, 5, np.float32(0), np.int32(-3)],
        ['12', '5', '0', '-3'],
        ['0000000000012', '05.0', 0.0, '-3.'],
    ],
)
def test_whole_numbers_in_every_form(values):
    ids, notes = IDS.resolve(values, 'dt.json')
    assert ids.tolist() == [12, 5, 0, -3] and ids.dtype == np.int64 and notes == []


@pytest.mark.parametrize(
    ('values', 'note'),
    [
        (['val/a.b.jpg', 'val\\0007.jpg', 'train/0009.png'], "'file_name'"),
        (['a.b.jpg', '0007.jpg', '0009.png'], 'without folders'),
        (['/data/a.b.jpg', 'C:\\x\\0007.jpg', '0009.png'], 'without folders'),
        (['a.b', '0007', '0009'], 'without folders and ending'),
    ],
)
def test_names_of_files(values, note):
    ids, notes = IDS.resolve(values, 'dt.json')
    assert ids.tolist() == [12, 5, 0]
    assert len(notes) == 1 and notes[0].startswith('dt.json: ') and notes[0].endswith(note)


def test_names_of_files_in_other_fields():
    ids = ImageIds([{'id': 4, 'im_name': 'x.png'}, {'id': 3, 'coco_url': 'http://x/val/0009.jpg', 'file_name': None}])
    assert ids.resolve(['x', '0009'], 'dt.json')[0].tolist() == [4, 3] == ids.resolve(['4', 3.0], 'x')[0].tolist()
    assert ids.find([9]).ids.tolist() == [3]


def test_the_number_in_a_file_name_comes_last():
    assert IDS.resolve([7, 9, 7.0, '07'], 'dt.json')[0].tolist() == [5, 0, 5, 5]
    assert IDS.resolve([5, 0, 12], 'dt.json')[0].tolist() == [5, 0, 12]


def test_ids_that_are_names_of_other_images_too():
    """Ids are taken, and it is said; but text with leading zeros that is a name to the letter is that."""
    ids = ImageIds([{'id': i, 'file_name': f'{i + 1:04}.jpg'} for i in range(9)], 'gt.json')
    for values in ([1, 2, 5, 5], np.array([1, 2, 5, 5]), ['1', '2', '5', '5'], [1, 2.0, '5', 5]):
        found, notes = ids.resolve(values, 'dt.json')
        assert found.tolist() == [1, 2, 5, 5]
        assert len(notes) == 1 and 'ids were used, which as names of files would be other images' in notes[0]
        assert ids.resolve(values, 'gt.json')[1] == []  # in its own file an id is an id
    assert ids.resolve([0, 1], 'dt.json')[1] == []
    found, notes = ids.resolve(['0001', '0005'], 'dt.json')
    assert found.tolist() == [0, 4] and "matched by 'file_name' without folders and ending" in notes[0]
    assert ids.resolve(['0001', '0005'], 'gt.json')[0].tolist() == [1, 5]
    assert ids.resolve(['00001', '0005'], 'dt.json')[0].tolist() == [1, 5]
    same = ImageIds([{'id': i, 'file_name': f'{i:04}.jpg'} for i in range(9)], 'gt.json')
    assert same.resolve(['0001', '0005'], 'dt.json')[1] == same.resolve([1, 5], 'dt.json')[1] == []


@pytest.mark.parametrize(
    'unknown', [7, 7.0, '7', 1.5, True, None, 'a', [12], float('nan'), float('inf'), 10**30, '1e1']
)
def test_one_rule_for_all_and_what_it_leaves_is_counted(unknown):
    with pytest.raises(InputError, match=r"dt.json: 2 records, the first is x\[1\]: field 'image_id' is .*gt.json"):
        IDS.resolve([12, unknown, 5, unknown, 0], 'dt.json', 'x')


def test_a_name_that_two_images_share_is_none():
    ids = ImageIds(
        [{'id': 1, 'file_name': 'a/1.jpg'}, {'id': 2, 'file_name': 'b/1.jpg'}, {'id': 3, 'file_name': '3.x'}]
    )
    assert ids.find(['1.jpg', '3.x', 'b/1.jpg']).is_known.tolist() == [False, True, True]
    assert ids.find(['1.jpg', '3.x']).is_known.tolist() == [False, True]


TEXT = {
    'text': ['b', 'a', ''],
    'some numbers': ['7a', '7', 8],
    'equal as numbers': ['7', '07', '7.0'],
    'long': ['9' * 50, '9' * 51, '8' * 50],
}


@pytest.mark.parametrize('kind', TEXT)
def test_text_is_numbered_in_the_order_of_the_file(kind):
    ids = ImageIds([{'id': name} for name in TEXT[kind]])
    assert ids.numbers.tolist() == [0, 1, 2] and ids.names == TEXT[kind]
    assert ids.resolve(TEXT[kind][::-1], 'x')[0].tolist() == [2, 1, 0]
    with pytest.raises(InputError, match=r'x: results\[0\]'):
        ids.resolve([1], 'x')  # positions are no ids


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ([1, 1.0, '01'], r"gt.json: images\[1\] \(id 1.0\): field 'id' is 1.0, which repeats another record's"),
        (['a', 'b', 'a', 'a'], r"gt.json: 2 records, the first is images\[2\] \(id 'a'\)"),
        (['1', 1, 'a'], r"images\[1\] \(id 1\): field 'id' is 1, which repeats another"),
        ([1, None], 'neither an integer of 64 bits nor text'),
        ([1, 0.5, True], r'2 records, the first is images\[1\] \(id 0.5\)'),
        ([1, 2**63], 'neither an integer of 64 bits nor text'),
    ],
)
def test_ids_that_are_none(values, message):
    if values == [1, 1.0, '01']:
        values = [1, 1.0]
    with pytest.raises(InputError, match=message):
        ImageIds([{'id': value} for value in values], 'gt.json')


def test_file_names_beside_ids():
    """They decide where ids are unknown; else ids do, and it is said."""
    names = ['0009.png', '0007.jpg', '0009.png']
    ids, notes = IDS.resolve([100, 101, 100], 'dt.json', file_names=names)
    assert ids.tolist() == [0, 5, 0] and "'file_name'" in notes[0]
    assert IDS.resolve([0, 5, 0], 'dt.json', file_names=names)[1] == []
    assert IDS.resolve([0, 5, 0], 'dt.json', file_names=[None, 'unknown.jpg', None])[1] == []
    ids, notes = IDS.resolve([0, 5, 12], 'dt.json', file_names=names)
    assert ids.tolist() == [0, 5, 12]
    assert '1 of 3 records' in notes[0] and 'results[2]' in notes[0]
    with pytest.raises(InputError, match=r'2 records, the first is results\[0\]'):
        IDS.resolve([100, 100, 5], 'dt.json', file_names=[None, 'no.jpg', None])


FORMS = [int, float, str, '{:09}'.format, '{}.0'.format, np.int64, np.float64]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**53), min_size=1, max_size=9, unique=True), st.data())
def test_ids_in_mixed_forms(ids, data):
    def written():
        return [data.draw(st.sampled_from(FORMS))(i) for i in ids]

    images = ImageIds([{'id': i} for i in written()])
    assert images.resolve(written(), 'x')[0].tolist() == ids == images.numbers.tolist()
