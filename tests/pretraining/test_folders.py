"""Pictures in folders: what is listed, and what is said of a folder that is none of them."""

import logging

import pytest

from mmhybrid.errors import InputError
from mmhybrid.pretraining import ImageFolder, folders


def test_classes_and_pictures_are_sorted_and_others_left_out(pictures):
    dataset = ImageFolder(str(pictures), 'train')
    assert dataset.metainfo['classes'] == ('blue', 'green', 'red')
    found = [(dataset.get_data_info(i)['label'], dataset.get_data_info(i)['img_path']) for i in range(len(dataset))]
    names = sorted(f'{i}.jpg' for i in range(12))
    assert found == [
        (label, str(pictures / 'train' / name / file))
        for label, name in enumerate(('blue', 'green', 'red'))
        for file in names
    ]


def test_the_first_part_that_is_there_is_taken(pictures):
    assert len(ImageFolder(str(pictures), ['val', 'test'])) == 15
    assert len(ImageFolder(str(pictures), ['train', 'test'])) == 36


@pytest.mark.parametrize('name', ['A.JPG', 'b.jpeg', 'c.Png', 'd.webp', 'e.bmp', 'f.tiff'])
def test_kinds_of_files(tmp_path, name):
    (tmp_path / 'cat').mkdir()
    (tmp_path / 'cat' / name).write_bytes(b'x')
    assert folders.pictures(tmp_path, 'cat') == ([str(tmp_path / 'cat' / name)], [])


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r'no folder val or test in .*data_root=DIR'):
        folders.part_folder(str(tmp_path), ['val', 'test'])


def test_pictures_without_classes(tmp_path):
    (tmp_path / '1.jpg').write_bytes(b'x')
    (tmp_path / '.git').mkdir()
    with pytest.raises(InputError, match=r'has no folders of classes: each class has a folder .* train/cat/1.jpg'):
        folders.class_names(tmp_path)


def test_a_class_without_pictures(tmp_path):
    for name in ('cat', 'dog'):
        (tmp_path / name).mkdir()
    (tmp_path / 'cat' / '1.jpg').write_bytes(b'x')
    (tmp_path / 'dog' / '1.jpg').mkdir()
    with pytest.raises(InputError, match=r'dog has no pictures .*fill that folder or remove it'):
        folders.class_names(tmp_path)


def test_a_folder_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r'missing cannot be read \(No such file or directory\)'):
        folders.class_names(tmp_path / 'missing')


def test_pictures_deeper_within_a_class_are_told(tmp_path, monkeypatch):
    for place in ('cat/1.jpg', 'cat/kittens/a/2.JPG', 'cat/notes/list.txt', 'cat/.cache/3.jpg', 'dog/1.jpg'):
        (tmp_path / 'train' / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'train' / place).write_bytes(b'x')
    told = []
    monkeypatch.setattr('mmhybrid.pretraining.dataset.print_log', lambda *args: told.append(args))
    assert len(ImageFolder(str(tmp_path))) == 2
    (sentence, _, level) = told[-1]
    assert level == logging.WARNING
    assert f'1 that have pictures, the first is {tmp_path / "train" / "cat" / "kittens"};' in sentence


@pytest.mark.parametrize(
    ('pictures', 'batch', 'processes', 'sentence'),
    [
        (7, 8, 1, 'There are 7 pictures to train with, which fill no batch of 8: add .*batch_size=3'),
        (1, 2, 1, r'batch_size=1\b'),
        (14, 8, 2, '14 pictures to train with in each of 2 processes, 7, which fill no batch of 8'),
    ],
)
def test_pictures_that_fill_no_batch(pictures, batch, processes, sentence):
    with pytest.raises(InputError, match=sentence):
        folders.check_batch(pictures, batch, processes)
    folders.check_batch(batch * processes, batch, processes)


@pytest.mark.parametrize(
    ('train', 'val', 'number', 'sentence'),
    [
        (['a'], ['a'], 10, "have one class, 'a', and a classifier needs at least two"),
        (['a', 'b', 'c'], ['a'], 3, "class 'b' and 1 more is in the pictures of train and not in those of val"),
        (['a', 'b'], ['a', 'b', 'c'], 2, "class 'c' is in the pictures of val and not in those of train"),
        (['a', 'b', 'c', 'd'], ['a', 'b', 'c', 'd'], 10, r'4 classes \(a, b, c, \.\.\.\) .* num_classes=4'),
    ],
)
def test_classes_that_differ(train, val, number, sentence):
    with pytest.raises(InputError, match=sentence):
        folders.check_classes(train, val, number)


def test_the_same_classes_are_fine():
    folders.check_classes(['a', 'b'], ('a', 'b'), 2)
