import json
import re
from pathlib import Path

import pytest

from mmhybrid.errors import InputError
from mmhybrid.predicting.ids import Ids
from mmhybrid.predicting.pictures import Picture, Source

CATEGORIES = [dict(id=3, name='dog'), dict(id=5, name='cat')]
IMAGES = [dict(id=7, file_name='a.jpg', width=4, height=3), dict(id=9, file_name='night/a.jpg')]


def picture(path):
    return Picture(Source(Path(path), 'given.jpg', 'unique.jpg'), 'unique.jpg', str(path))


def places(*paths, size=None):
    return [(Path(path), lambda: size) for path in paths]


@pytest.fixture
def ann(tmp_path):
    def write(images=IMAGES, categories=CATEGORIES):
        (tmp_path / 'ann.json').write_text(json.dumps(dict(images=images, categories=categories)))
        return str(tmp_path / 'ann.json')

    return write


def test_ids_of_a_file_are_found_by_the_ends_of_paths_and_by_names(ann):
    ids = Ids(['cat', 'dog'], ann())
    assert [category['id'] for category in ids.categories] == [5, 3]
    assert ids.image(picture('/somewhere/night/a.jpg'), (1, 1)) == dict(id=9, file_name='night/a.jpg')
    assert ids.image(picture('/somewhere/day/a.jpg'), (4, 3)) == dict(id=7, file_name='a.jpg')
    with pytest.raises(InputError, match=r'other/a.jpg and /somewhere/day/a.jpg are the same image'):
        ids.image(picture('/other/a.jpg'), (4, 3))
    with pytest.raises(InputError, match=r'/x/c.jpg is not in --ann'):
        ids.image(picture('/x/c.jpg'), (4, 3))


def test_without_a_file_images_count_from_1_and_are_called_as_they_were_given():
    ids = Ids(['cat', 'dog'])
    ids.check(places('/x/a.jpg', '/y/a.jpg'))
    assert [ids.image(picture('/x/a.jpg'), (1, 1)) for _ in range(2)] == [
        dict(id=n, file_name='given.jpg') for n in (1, 2)
    ]


@pytest.mark.parametrize('name', ['./x.jpg', '/data/x.jpg', 'data//x.jpg', 'data/./x.jpg'])
def test_file_names_are_paths(ann, name):
    ids = Ids(['cat'], ann([dict(id=1, file_name=name)]))
    assert ids.image(picture('/data/x.jpg'), (1, 1)) == dict(id=1, file_name=name)


def test_what_does_not_fit_a_file_is_told_before_anything_is_detected(ann):
    ids = Ids(['cat'], ann())
    ids.check(places('/x/a.jpg', size=(4, 3)))
    with pytest.raises(InputError, match=r'1 of 2 pictures are not in --ann .*, as /x/c.jpg'):
        ids.check(places('/x/a.jpg', '/x/c.jpg'))
    with pytest.raises(InputError, match=r'/y/a.jpg and /x/a.jpg are the same image'):
        ids.check(places('/x/a.jpg', '/y/a.jpg'))
    with pytest.raises(InputError, match=r'a.jpg is 8x6 pixels, and --ann .* says 4x3'):
        ids.check(places('/x/a.jpg', size=(8, 6)))
    with pytest.raises(InputError, match=r'3x4 pixels, as its EXIF orientation turns it, and'):
        ids.check(places('/x/a.jpg', size=(3, 4)))
    with pytest.raises(InputError, match=r'a.jpg is 8x6 pixels'):  # of what only the detector's reader can read
        ids.image(picture('/x/a.jpg'), (8, 6))


@pytest.mark.parametrize(
    ('images', 'categories', 'what'),
    [
        (
            [dict(id=1, file_name='x.jpg'), dict(id=2, file_name='./x.jpg')],
            CATEGORIES,
            'two images with the file_',
        ),
        ([dict(id=1, file_name='x.jpg'), dict(id=1, file_name='y.jpg')], CATEGORIES, 'two images with the id 1'),
        (IMAGES, [dict(id=1, name='cat'), dict(id=2, name='cat')], "two categories with the name 'cat'"),
        (IMAGES, [dict(id=1, name='cat'), dict(id=1, name='dog')], 'two categories with the id 1'),
        *(
            ([dict(id=number, file_name='x.jpg')], CATEGORIES, 'images have a file_name and a whole number as id')
            for number in ('abc', [7], 1.5, True, None)
        ),
        ([dict(id=1)], CATEGORIES, 'images have a file_name'),
        ([7], CATEGORIES, 'images have a file_name'),
        (IMAGES, None, 'it has no list of categories'),
        (dict(a=1), CATEGORIES, 'it has no list of images'),
        (IMAGES, CATEGORIES[:1], "no category 'cat', which the detector was trained for (1 of 1 classes are missing)"),
    ],
)
def test_mistakes_in_a_file_are_told(ann, images, categories, what):
    with pytest.raises(InputError, match=re.escape(what)):
        Ids(['cat'], ann(images, categories))


def test_what_is_no_annotation_file_is_told(tmp_path):
    (tmp_path / 'list.json').write_text('[]')
    with pytest.raises(InputError, match=r'list.json is no COCO annotation file'):
        Ids(['cat'], str(tmp_path / 'list.json'))
    with pytest.raises(InputError, match=r'no such file; give the path of the annotation file'):
        Ids(['cat'], str(tmp_path / 'nothing.json'))
