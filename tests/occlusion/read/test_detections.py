"""Results as people have them: what is wrong is said in one sentence, and what is unambiguous is read."""

import copy
import gc
import json
import re

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..synthetic import SIZE, dataset

GT, DT = dataset(0, num_images=4, masks=True, many=False)
CHECKED = load_ground_truth(GT, ('segm',))
NAN = float('nan')


def field(index, name, value):
    return lambda dt: dt[index].__setitem__(name, value)


def drop(index, name):
    return lambda dt: dt[index].pop(name)


CASES = {
    'no object': (lambda dt: dt.insert(3, [1]), r'results\[3\]: \[1\] is not an object'),
    'no image': (field(2, 'image_id', 12345), r"results\[2\]: field 'image_id' is 12345"),
    'no category': (field(2, 'category_id', 0), r"results\[2\]: field 'category_id' is 0, which is no category"),
    'category of text': (
        field(2, 'category_id', 'dog'),
        r"results\[2\]: field 'category_id' is 'dog', not an integer",
    ),
    'category true': (field(2, 'category_id', True), r"'category_id' is True, not an integer"),
    'image missing': (drop(2, 'image_id'), r"results\[2\]: field 'image_id' is missing"),
    'category missing': (drop(2, 'category_id'), r"results\[2\]: field 'category_id' is missing"),
    'box missing': (drop(2, 'bbox'), r"results\[2\]: field 'bbox' is missing"),
    'score missing': (drop(2, 'score'), r"results\[2\]: field 'score' is missing; give"),
    'score nan': (field(2, 'score', NAN), r"results\[2\]: field 'score' is nan, not a finite number"),
    'score null': (field(2, 'score', None), r"results\[2\]: field 'score' is None, not a finite number"),
    'score true': (field(2, 'score', True), r"results\[2\]: field 'score' is True, not a finite number"),
    'score huge': (field(2, 'score', 10**400), r"results\[2\]: field 'score' is 1000+\.\.\.0+, not a finite number"),
    'box nan': (field(2, 'bbox', [NAN, 0, 1, 1]), r"results\[2\]: field 'bbox' .* no finite number"),
    'box negative': (field(2, 'bbox', [0, 0, 1, -1]), r'results\[2\]: .* negative width or height'),
    'box far': (field(2, 'bbox', [0, 0, 1, 1e10]), r'results\[2\]: .* beyond 1e9'),
    'no mask': (drop(1, 'segmentation'), r"results\[1\]: field 'segmentation' is missing; .*segm"),
    'mask of another size': (
        field(1, 'segmentation', {'size': [9, 9], 'counts': 'Q2'}),
        rf'size \[9, 9\], where the image\'s \[height, width\] is \[{SIZE}, {SIZE}\]',
    ),
    'mask cut short': (
        field(1, 'segmentation', {'size': [SIZE, SIZE], 'counts': 'oo'}),
        r'results\[1\]: .* counts that do not fill its size',
    ),
    'mask without counts': (field(1, 'segmentation', {'size': [SIZE, SIZE]}), r'has the counts None'),
}


@pytest.mark.parametrize('change, sentence', CASES.values(), ids=CASES)
def test_one_sentence_for_each_mistake(tmp_path, change, sentence):
    """The same for a loaded list and for a file."""
    dt = copy.deepcopy(DT)
    change(dt)
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(dt))
    messages = []
    for given, source in ((dt, 'results'), (path, str(path))):
        with pytest.raises(InputError) as caught:
            load_detections(given, CHECKED, ('bbox', 'segm'))
        message = str(caught.value)
        assert re.search(sentence, message), message
        assert message.startswith(f'{source}: ') and message.endswith('.') and '\n' not in message
        messages.append(message.removeprefix(source))
    assert messages[0] == messages[1]


def test_mistakes_are_counted_over_the_whole_file(tmp_path):
    path = tmp_path / 'dt.json'
    wrong = range(5, len(DT), 2)
    path.write_text(json.dumps([{**row, 'category_id': 99} if i in wrong else row for i, row in enumerate(DT)]))
    with pytest.raises(
        InputError, match=rf"{len(wrong)} records, the first is results\[5\]: field 'category_id' is 99"
    ):
        load_detections(path, CHECKED, block_size=100)


def test_numpy_values_are_numbers():
    plain = load_detections(DT, CHECKED)
    for change in (
        {'score': np.float64, 'bbox': np.array},
        {'image_id': np.int64, 'category_id': np.int32, 'bbox': tuple},
    ):
        dt = [{**row, **{name: kind(row[name]) for name, kind in change.items()}} for row in DT]
        assert load_detections(dt, CHECKED).to_coco('bbox') == plain.to_coco('bbox')


def test_masks_alone_need_no_box():
    dt = [{key: value for key, value in row.items() if key != 'bbox'} for row in DT]
    assert load_detections(dt, CHECKED, ('segm',)).boxes is None


IDS = {
    'floats': (float, float),
    'digits': (str, str),
    'padded': (lambda i: f'{i:012d}', lambda i: f'{i:03d}'),
    'unlike': (lambda i: i if i % 2 else float(i), lambda i: str(i) if i % 2 else i),
}


@pytest.mark.parametrize('image, category', IDS.values(), ids=IDS)
@pytest.mark.parametrize('block_size', [100, 2**20])
def test_ids_in_other_forms(tmp_path, image, category, block_size):
    dt = [{**row, 'image_id': image(row['image_id']), 'category_id': category(row['category_id'])} for row in DT]
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(dt))
    plain = load_detections(DT, CHECKED, ('bbox', 'segm'))
    for given in (dt, path):
        found = load_detections(given, CHECKED, ('bbox', 'segm'), block_size)
        assert found.to_coco('bbox') == plain.to_coco('bbox')
        assert found.to_coco('segm') == plain.to_coco('segm')


@pytest.mark.parametrize('kind', ['text', 'stems', 'file_name beside'])
@pytest.mark.parametrize('block_size', [100, 2**20])
def test_images_by_name(tmp_path, kind, block_size):
    gt = copy.deepcopy(GT)
    names = {image['id']: f'street/{image["id"]:04d}_left' for image in gt['images']}
    for image in gt['images']:
        image['file_name'] = f'{names[image["id"]]}.jpg'
        image['id'] = names[image['id']] if kind == 'text' else image['id']
    for row in gt['annotations']:
        row['image_id'] = names[row['image_id']] if kind == 'text' else row['image_id']
    given = {
        'text': lambda i: {'image_id': names[i]},
        'stems': lambda i: {'image_id': names[i].rpartition('/')[2]},
        'file_name beside': lambda i: {'image_id': 10**6 + i, 'file_name': f'{names[i]}.jpg'},
    }[kind]
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps([row | given(row['image_id']) for row in DT]))
    checked = load_ground_truth(gt, ('segm',))
    found = load_detections(path, checked, ('bbox', 'segm'), block_size)
    position = {image['id']: i for i, image in enumerate(GT['images'])}
    assert found.image_ids.tolist() == [checked.image_ids[position[row['image_id']]] for row in DT]
    assert len(found.notes) == (kind != 'text')


def shards(tmp_path, parts):
    paths = []
    for rank, rows in enumerate(parts):
        paths.append(tmp_path / f'dt_{rank}.json')
        paths[-1].write_text(json.dumps(rows))
    return paths


def test_shards_are_one_model(tmp_path):
    kept = sorted(DT, key=lambda row: row['image_id'] % 2)
    cut = next(i for i, row in enumerate(kept) if row['image_id'] % 2)
    for parts in ([kept[:cut], kept[cut:]], [kept[:cut], [], kept[cut:]], [kept]):
        paths = shards(tmp_path, parts)
        found = load_detections(paths, CHECKED, ('bbox', 'segm'))
        whole = load_detections(kept, CHECKED, ('bbox', 'segm'))
        assert found.to_coco('bbox') == whole.to_coco('bbox') and found.to_coco('segm') == whole.to_coco('segm')
        assert str(paths[0]) in found.source and not found.notes
    assert len(load_detections(tuple(map(str, shards(tmp_path, [[], []]))), CHECKED)) == 0


def test_images_in_several_shards_are_noted(tmp_path):
    """As where the sampler of a distributed test fills up its last batch."""
    found = load_detections(shards(tmp_path, [DT, [DT[0]]]), CHECKED)
    assert len(found) == len(DT) + 1
    (note,) = found.notes
    assert '1 image has detections in more than one of the files' in note


def test_a_mistake_in_a_shard_names_its_file(tmp_path):
    paths = shards(tmp_path, [DT, [DT[0], {**DT[1], 'score': None}]])
    with pytest.raises(InputError, match=re.escape(f"{paths[1]}: results[1]: field 'score' is None")):
        load_detections(paths, CHECKED)


def test_the_rows_are_those_of_the_file():
    dt = load_detections(DT, CHECKED, ('bbox', 'segm'))
    names = ('image_id', 'category_id', 'score', 'bbox')
    assert dt.to_coco('bbox') == [{key: row[key] for key in names} for row in DT]
    for row, given_row in zip(dt.to_coco('segm'), DT, strict=True):
        assert 'bbox' not in row
        rle = given_row['segmentation']
        assert row['segmentation'] == {'size': rle['size'], 'counts': rle['counts'].encode()}
        assert (row['image_id'], row['score']) == (given_row['image_id'], given_row['score'])
    dt.to_coco('bbox')[0]['bbox'][0] = 1e6  # a fresh copy each time
    assert dt.boxes.max() < 1e6


@pytest.mark.parametrize('enabled', [True, False])
def test_the_garbage_collector_is_left_as_it_was(tmp_path, enabled):
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps([*DT, 3]))
    was_enabled = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        load_detections(DT, CHECKED)
        assert gc.isenabled() == enabled
        with pytest.raises(InputError):
            load_detections(path, CHECKED, ('bbox', 'segm'))
        assert gc.isenabled() == enabled
    finally:
        gc.enable() if was_enabled else gc.disable()


def test_uncompressed_counts_become_compressed(tmp_path):
    rle = DT[0]['segmentation']
    height, width = rle['size']
    rows = [dict(DT[0]), {**DT[0], 'segmentation': {'size': (height, width), 'counts': [10, 20, height * width - 30]}}]
    masks = load_detections(rows, CHECKED, ('segm',)).masks.take()
    from pycocotools import mask

    assert mask.area(masks).tolist() == [mask.area(rle), 20]
    flat = mask.decode(masks[1]).ravel(order='F')
    assert flat[10:30].all() and flat.sum() == 20
