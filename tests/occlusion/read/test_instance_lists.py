"""Lists of instances: pickled or JSON, checked, and never run."""

import gzip
import json
import os
import pickle
import re

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.read.instance_lists import load_instance_list

from ..listed import CLASSES, dataset, encoded, plain

GT, _, ENTRIES, _ = dataset(0)


def truth(**changes):
    return load_ground_truth(GT | changes, (), ())


def written(tmp_path, entries, name='occluded_coco.pkl', **how):
    path = tmp_path / name
    path.write_bytes(json.dumps(entries).encode() if path.suffix == '.json' else pickle.dumps(entries, **how))
    return path


def refused(path, gt=None):
    with pytest.raises(InputError) as caught:
        load_instance_list(path, gt or truth())
    message = str(caught.value)
    assert message.startswith(f'{path}: ') and message.count('\n') == 0 and message.endswith('.')
    return message


def changed(index, position, value):
    entry = list(ENTRIES[index])
    entry[position] = value
    return [*ENTRIES[:index], tuple(entry), *ENTRIES[index + 1 :]]


@pytest.mark.parametrize('protocol', range(2, 6))
def test_a_pickle(tmp_path, protocol):
    read = load_instance_list(written(tmp_path, ENTRIES, protocol=protocol), truth())
    ids = {image['file_name']: image['id'] for image in GT['images']}
    assert read.image_ids.tolist() == [ids[entry[0]] for entry in ENTRIES]
    assert [CLASSES[i] for i in read.category_ids.tolist()] == [entry[1] for entry in ENTRIES]
    assert read.masks == [entry[4] for entry in ENTRIES]
    assert (read.num_entries, read.missing_images, read.missing_classes, read.notes) == (len(ENTRIES), (), (), ())


def test_json_and_a_packed_file_are_the_same(tmp_path):
    pickled = load_instance_list(written(tmp_path, ENTRIES), truth())
    path = written(tmp_path, plain(ENTRIES), 'list.json')
    packed = tmp_path / 'list.pkl.gz'
    packed.write_bytes(gzip.compress(pickle.dumps(ENTRIES)))
    for read in (load_instance_list(path, truth()), load_instance_list(packed, truth())):
        assert read.masks == pickled.masks
        assert np.array_equal(read.image_ids, pickled.image_ids)
        assert np.array_equal(read.category_ids, pickled.category_ids)


def test_number_and_box_are_not_looked_at(tmp_path):
    entries = [(name, kind, None, 'no box', rle) for name, kind, _, _, rle in ENTRIES]
    assert load_instance_list(written(tmp_path, entries), truth()).masks == [entry[4] for entry in ENTRIES]


def test_nothing_that_a_pickle_names_is_run(tmp_path):
    class Call:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'made'),)

    for content in (Call(), changed(1, 3, Call()), changed(1, 4, Call())):
        message = refused(written(tmp_path, content))
        assert 'mkdir' in message and 'might do harm' in message
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ([], r'holds \[\], not a filled list'),
        ({'a': 1}, r"holds \{'a': 1\}, not a filled list"),
        (changed(2, 1, 3), r'instances\[2\]: .* is not \[file name, class name'),
        (changed(2, 0, 139), r'instances\[2\]: .* is not \[file name, class name'),
        (changed(2, 4, None), r'instances\[2\]: .* is not \[file name, class name'),
        ([entry[:4] for entry in ENTRIES], rf'{len(ENTRIES)} records, the first is instances\[0\]: '),
        (changed(3, 4, {'size': [64, 64], 'counts': b'@'}), r'instances\[3\]: .*counts that do not fill its size'),
        (changed(3, 4, {'size': [64, 64], 'counts': b''}), r"instances\[3\]: .*the counts b''"),
        (changed(3, 4, {'size': [64, 63], 'counts': b'1'}), r'instances\[3\]: .*the size \[64, 63\]'),
        (changed(3, 4, {'counts': b'1'}), r'instances\[3\]: .*the size None'),
        ([('x.jpg', *entry[1:]) for entry in ENTRIES], r"of none of its \d+ instances.*'x.jpg'.*instances_val2017"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_sentence(tmp_path, content, said):
    assert re.search(said, refused(written(tmp_path, content)))


@pytest.mark.parametrize(
    ('raw', 'said'),
    [
        (b'', 'empty|Expecting value'),
        (b'<!DOCTYPE html>', 'an HTML page'),
        (b'\x80\x04K', 'cannot be read as a pickle'),
        (b'[[1, 2', 'not valid JSON'),
    ],
)
def test_broken_files(tmp_path, raw, said):
    path = tmp_path / 'list.pkl'
    path.write_bytes(raw)
    assert re.search(said, refused(path))


def test_no_file(tmp_path):
    assert 'no such file; give the path of the list of instances, pickled or' in refused(tmp_path / 'none.pkl')


def test_images_and_classes_that_the_ground_truth_lacks(tmp_path):
    """They are left out and told, and faults of the others are still counted from the file's first entry."""
    few = truth(images=GT['images'][1:], categories=GT['categories'][:2])
    lost = GT['images'][0]['file_name']
    entries = [(lost, 'cup', 0, None, encoded(np.ones((5, 5)))), *ENTRIES]
    read = load_instance_list(written(tmp_path, entries), few)
    kept = [entry for entry in entries if entry[0] != lost and entry[1] != 'cup']
    assert read.masks == [entry[4] for entry in kept] and len(kept) < len(ENTRIES)
    assert (read.missing_images, read.missing_classes, read.num_entries) == ((lost,), ('cup',), len(entries))
    numbers = [sum(entry[0] == lost for entry in entries), sum(entry[1] == 'cup' for entry in entries)]
    for note, number, what in zip(
        read.notes, numbers, (f"1 of their images: ['{lost}']", "classes: ['cup']"), strict=True
    ):
        assert f': {number} of {len(entries)} instances are left out' in note and what in note
    entries[-1] = (*kept[-1][:4], {'size': [1, 1], 'counts': b'1'})
    assert f'instances[{len(entries) - 1}]: ' in refused(written(tmp_path, entries), few)


def test_images_by_another_name_are_noted(tmp_path):
    entries = [(f'val2017/{entry[0]}', *entry[1:]) for entry in ENTRIES]
    read = load_instance_list(written(tmp_path, entries), truth())
    assert len(read.masks) == len(ENTRIES) and 'without folders' in read.notes[0]


def test_a_class_that_is_there_twice(tmp_path):
    twice = truth(categories=[*GT['categories'], {'id': 1000, 'name': 'cup'}])
    with pytest.raises(InputError, match=r"ground truth: categories\[3\].*'name' is 'cup'.*every listed class"):
        load_instance_list(written(tmp_path, ENTRIES), twice)
    others = truth(categories=[*GT['categories'], {'id': 1000, 'name': 'x'}, {'id': 1001, 'name': 'x'}])
    assert load_instance_list(written(tmp_path, ENTRIES), others).num_entries == len(ENTRIES)


def test_images_without_sizes(tmp_path):
    images = [{'id': image['id'], 'file_name': image['file_name']} for image in GT['images']]
    with pytest.raises(InputError, match=r"ground truth: .*images.*'height' is missing"):
        load_instance_list(written(tmp_path, ENTRIES), truth(images=images))
