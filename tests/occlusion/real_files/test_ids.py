"""Ids of images, categories and annotations as programs write them, on either side, and in files of values."""

import json
import math

import pytest

from . import forms
from .base import Files
from .outcomes import assert_named, assert_noted, assert_same


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def rename(files, name):
    """Give every picture another file name, made from the number of its image."""
    for image in files.gt['images']:
        image['file_name'] = name(image['id'])


def identify(files, new, gt=False):
    """Give detections other image ids, made from the number of the image; with ``gt``, the ground truth too."""
    for record in [*files.dt, *(files.gt['annotations'] if gt else [])]:
        record['image_id'] = new(record['image_id'])
    for image in files.gt['images'] if gt else []:
        image['id'] = new(image['id'])


# As Roboflow exports them; of cameras; with dots; with spaces; beyond ASCII.
NAMES = [
    'street_{:03}_jpg.rf.0a1b2c3d4e.jpg',
    'IMG_{:04}.JPG',
    'a.b.{}.tar.png',
    'train image ({}).jpeg',
    'höhe_{:02}.png',
    'set/00/{:05}.webp',
]


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('named', ['file_name', 'stem'])
def test_file_names_and_stems_for_ids(files, name, named):
    rename(files, name.format)
    without = (lambda text: text.rpartition('.')[0].rpartition('/')[2]) if named == 'stem' else str
    identify(files, lambda i: without(name.format(i)))
    assert_same(files.run('eval'))


def test_the_number_in_the_file_name_for_ids(files):
    """As Ultralytics writes COCO results of own data: the integer of a stem of digits."""
    rename(files, lambda i: f'val/{139 * i:012}.jpg')
    identify(files, lambda i: 139 * i)
    assert_same(files.run('eval'))


def test_the_number_in_the_file_name_is_near_the_ids(files):
    """Most of the numbers are ids, too: of other images."""
    rename(files, '{:06}.jpg'.format)
    for record in [*files.gt['images'], *files.gt['annotations']]:
        name = 'image_id' if 'image_id' in record else 'id'
        record[name] -= 1
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, '12', 'image')
    else:
        assert_same(outcome)
        assert_noted(outcome.notes, 'file_name')


@pytest.mark.parametrize('name', ['/content/drive/street_{:03}.jpg', 'images/val/street_{:03}', 'c:\\x\\street_{:03}'])
def test_other_folders_than_those_of_the_ground_truth(files, name):
    rename(files, 'images/val/street_{:03}.jpg'.format)
    identify(files, name.format)
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, r'\b57 (records|detections)', '(content|images|c:).*street_001')
    else:
        assert_same(outcome)


def test_stems_that_two_folders_share_are_not_guessed(files):
    for image in files.gt['images']:
        image['file_name'] = f'{"ab"[image["id"] % 2]}/x{(image["id"] + 1) // 2:03}.jpg'
    names = {image['id']: image['file_name'] for image in files.gt['images']}
    identify(files, names.get)
    assert_same(files.run('eval'))
    other = Files(files.folder / 'stems', files.gt)
    identify(other, lambda i: names[i][2:6])
    outcome = other.run('eval')
    assert_named(outcome, r'\b57 (records|detections)', "'x00[1-6]'")


def test_file_names_decide_where_ids_are_unknown(files):
    """Ids that the program made up in its own order, and the files they stand for."""
    for record in files.dt:
        record |= {'file_name': f'street_{record["image_id"]:03}.jpg', 'image_id': 1000 - record['image_id']}
    outcome = files.run('eval')
    assert_same(outcome)
    assert_noted(outcome.notes, 'file_name')


def test_file_names_that_contradict_ids(files):
    for record in files.dt:
        record['file_name'] = f'street_{13 - record["image_id"]:03}.jpg'
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, 'file_name')
    else:
        assert_same(outcome)
        assert_noted(outcome.notes, r'57.*file_name')


AWKWARD = {
    'hexadecimal, some of digits': lambda i: f'{i * 7919**3:016x}' if i % 3 else f'{i:016}',
    'like numbers of other kinds': lambda i: [
        '1e3',
        '1000',
        '0x10',
        'nan',
        'inf',
        '-0',
        '1_0',
        '٣',
        '3',
        '½',
        '1.50',
        '1.5',
    ][i - 1],
    'equal as numbers': lambda i: ['7', '07', '007', '7.0', '8', '08', '9', '09', '10', '010', '11', '011'][i - 1],
    'numbers and text': lambda i: i if i % 2 else f'{i}-b',
    'with blanks and quotes': lambda i: f' "{i}\' \t,;',
    'like paths': lambda i: f'a/b\\{i}.jpg',
    'UUIDs': lambda i: f'{i:08x}-0000-4000-8000-000000000000',
    'long': lambda i: str(i) * 200,
}


@pytest.mark.parametrize('kind', AWKWARD)
def test_awkward_text(files, kind):
    identify(files, AWKWARD[kind], gt=True)
    assert_same(files.run('eval'))


UNKNOWN = {'a number': 99, 'text': 'nowhere', 'a float': 1.5, 'true': True, 'null': None, 'a list': [1], 'huge': 1e300}


@pytest.mark.parametrize('kind', UNKNOWN)
def test_images_that_are_not_there_are_counted(files, kind):
    for record in files.dt[4:40:12]:
        record['image_id'] = UNKNOWN[kind]
    assert_named(files.run('eval'), r'\b3 (records|detections)', r'results\[4\]', 'image_id')


def test_no_image_id(files):
    for record in files.dt[5:7]:
        del record['image_id']
    assert_named(files.run('eval'), 'image_id', r'results\[5\]')


def test_categories_that_are_not_there_are_counted(files):
    for record in files.dt[4:40:12]:
        record['category_id'] = 77
    assert_named(files.run('eval'), r'\b3 (records|detections)', r'results\[4\]', '77', 'categor')


def test_annotations_of_images_that_are_not_there_are_counted(files):
    for record in files.gt['annotations'][4:40:12]:
        record['image_id'] = 99
    assert_named(files.run('eval'), r'\b3 (records|annotations)', r'annotations\[4\]', '99')


def test_names_of_categories_for_ids(files):
    names = {category['id']: category['name'] for category in files.gt['categories']}
    for record in files.dt:
        record['category_id'] = names[record['category_id']]
    outcome = files.run('eval')
    if outcome.code == 2:
        assert_named(outcome, r'\b57 (records|detections)', 'category_id', 'car|person|dog')
    else:
        assert_same(outcome)


@pytest.mark.parametrize('section', ['images', 'categories'])
def test_an_id_that_is_there_twice(files, section):
    files.gt[section][2]['id'] = files.gt[section][1]['id']
    assert_named(files.run('eval'), rf'{section}\[2\]', 'repeat|twice')


KEYS = {
    'ids': str,
    'padded': '{:012}'.format,
    'floats': lambda i: f'{i}.0',
    'file names': 'street_{:03}.jpg'.format,
    'stems': 'street_{:03}'.format,
}


def _values(files, key, suffix, extra=0):
    values = {key(i): 1 + i % 4 for i in range(1, 13 + extra)}
    if suffix == 'json':
        return files.write('v.json', json.dumps(values))
    rows = [('file_name' if 'street' in key(1) else 'image_id') + ',crowding', *(f'{a},{b}' for a, b in values.items())]
    return files.write('v.csv', '\r\n'.join(rows))


@pytest.mark.parametrize('extra', [0, 30])
@pytest.mark.parametrize('suffix', ['json', 'csv'])
@pytest.mark.parametrize('kind', KEYS)
def test_keys_of_values(files, kind, suffix, extra):
    """Labels of a larger set are those of its images here; only what is missing is a fault."""
    right = Files(files.folder / 'right')
    options = ('--edges', '1', '2', '3', '4', '--column', 'crowding')
    wanted = right.run('eval', '--values', _values(right, str, 'json'), *options).results
    got = files.run('eval', '--values', _values(files, KEYS[kind], suffix, extra), *options).results
    assert got[0]['strata'] == wanted[0]['strata']
    assert [stratum['num_images'] for stratum in got[0]['strata']][:2] == [12, 3]


def test_keys_of_values_for_ids_that_are_text(files):
    forms.IMAGE_IDS['text'](files)
    values = {image['id']: image['id'] > 'seq_0007' for image in files.gt['images']}
    outcome = files.run('eval', '--values', files.write('night.json', values))
    assert [stratum['num_images'] for stratum in outcome.results[0]['strata']] == [12, 6, 6]


def test_images_without_a_value_are_counted(files):
    path = files.write('v.json', {str(i): i for i in range(1, 9)})
    assert_named(files.run('eval', '--values', path), r'\b4 of 12 images')


def test_ids_that_are_text_are_told_as_text(files):
    """What is written for people and for spreadsheets has the names of the file."""
    forms.IMAGE_IDS['text'](files)
    assert files.ratio().code == 0
    assert 'seq_0003_d_00021' in (files.folder / 'r.csv').read_text()
    for record in files.dt[:2]:
        record['bbox'][2] = math.nan
    (files.folder / 'dt.json').unlink(missing_ok=True)
    assert_named(files.run('eval'), r'results\[0\]', 'bbox')
