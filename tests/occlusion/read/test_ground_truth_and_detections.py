import copy
import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion import all_images, bins, evaluate

from ..synthetic import SIZE, dataset

GT, DT = dataset(0, num_images=4, masks=True, many=False)
FEW = (all_images(), *bins([0, 0.5, 1]))
POLYGON = next(i for i, row in enumerate(GT['annotations']) if not row['iscrowd'])


def field(section, index, name, value):
    def change(gt, dt):
        (dt if section == 'dt' else gt[section])[index][name] = value

    return change


def drop(section, index, name):
    def change(gt, dt):
        del (dt if section == 'dt' else gt[section])[index][name]

    return change


def section(name, value):
    return lambda gt, dt: gt.__setitem__(name, value)


def repeat(name):
    return lambda gt, dt: gt[name].append(dict(gt[name][0]))


NAN, INF = float('nan'), float('inf')
CASES = {
    'no images': (section('images', []), r"'images' is \[\]"),
    'images no list': (section('images', {}), r"'images' is \{\}"),
    'no annotations': (lambda gt, dt: gt.pop('annotations'), "'annotations' is missing"),
    'no categories': (lambda gt, dt: gt.pop('categories'), "'categories' is missing"),
    'image no object': (lambda gt, dt: gt['images'].append(7), r'images\[4\]: 7 is not an object'),
    'image id twice': (repeat('images'), r"images\[4\] \(id \d+\): field 'id' repeats"),
    'image id text': (field('images', 0, 'id', 'a.jpg'), r"images\[0\] .*'id' is 'a.jpg', not an integer"),
    'category id twice': (repeat('categories'), r"categories\[4\] \(id 3\): field 'id' repeats"),
    'annotation id twice': (repeat('annotations'), r"annotations\[\d+\] \(id 100\): field 'id' repeats"),
    'annotation id missing': (drop('annotations', 1, 'id'), r"annotations\[1\]: field 'id' is missing"),
    'annotation id 0': (field('annotations', 1, 'id', 0), r"'id' is 0, which COCO evaluation reads as 'no match'"),
    'annotation id huge': (field('annotations', 1, 'id', 10**30), r"'id' does not fit 64 bits"),
    'annotation of no image': (field('annotations', 1, 'image_id', -4), r"annotations\[1\] .*'image_id' is -4"),
    'annotation of no category': (field('annotations', 1, 'category_id', 1), r"'category_id' is 1, which is no cat"),
    'no area': (drop('annotations', 2, 'area'), r"annotations\[2\] \(id 102\): field 'area' is missing; give"),
    'area text': (field('annotations', 2, 'area', '3'), r"field 'area' is '3', not a number"),
    'area nan': (field('annotations', 2, 'area', NAN), r"field 'area' is nan, not a finite number"),
    'area negative': (field('annotations', 2, 'area', -3), r"field 'area' is -3, negative"),
    'gt box missing': (drop('annotations', 2, 'bbox'), r"annotations\[2\] .*'bbox' is missing"),
    'gt box short': (field('annotations', 2, 'bbox', [1, 2, 3]), r"'bbox' is \[1, 2, 3\], not four numbers"),
    'gt box nan': (field('annotations', 2, 'bbox', [1, 2, NAN, 3]), r"'bbox' is .* not finite"),
    'gt box infinite': (field('annotations', 2, 'bbox', [INF, 2, 2, 3]), r"'bbox' is .* not finite"),
    'gt box negative': (field('annotations', 2, 'bbox', [1, 2, -2, 3]), r"'bbox' is .* negative width or height"),
    'gt box null': (field('annotations', 2, 'bbox', [1, 2, None, 3]), r'annotations\[2\] .*not four numbers'),
    'crowd 2': (field('annotations', 2, 'iscrowd', 2), r"'iscrowd' is 2, neither 0 nor 1"),
    'ignore text': (field('annotations', 2, 'ignore', 'no'), r"'ignore' is 'no', neither 0 nor 1"),
    'no results': (lambda gt, dt: dt.clear(), 'results: the results are an empty list'),
    'result no object': (lambda gt, dt: dt.insert(3, [1]), r'results\[3\]: \[1\] is not an object'),
    'result of no image': (field('dt', 2, 'image_id', 12345), r"results\[2\]: field 'image_id' is 12345"),
    'result of no category': (field('dt', 2, 'category_id', 0), r"results\[2\]: field 'category_id' is 0"),
    'result image missing': (drop('dt', 2, 'image_id'), r"results\[2\]: field 'image_id' is missing"),
    'result category missing': (drop('dt', 2, 'category_id'), r"results\[2\]: field 'category_id' is missing"),
    'result box missing': (drop('dt', 2, 'bbox'), r"results\[2\]: field 'bbox' is missing"),
    'result score missing': (drop('dt', 2, 'score'), r"results\[2\]: field 'score' is missing; give"),
    'score nan': (field('dt', 2, 'score', NAN), r"results\[2\]: field 'score' is nan, not a finite number"),
    'score null': (field('dt', 2, 'score', None), r"results\[2\]: field 'score' is None, not a number"),
    'score true': (field('dt', 2, 'score', True), r"results\[2\]: field 'score' is True, not a number"),
    'score huge': (field('dt', 2, 'score', 10**400), r"results\[2\]: field 'score' is inf"),
    'result box nan': (field('dt', 2, 'bbox', [NAN, 0, 1, 1]), r"results\[2\]: field 'bbox' .* not finite"),
    'result box negative': (field('dt', 2, 'bbox', [0, 0, 1, -1]), r'results\[2\]: .* negative width or height'),
    'result box far': (field('dt', 2, 'bbox', [0, 0, 1, 1e10]), r'results\[2\]: .* beyond 1e9'),
    'no mask in gt': (drop('annotations', 1, 'segmentation'), r"annotations\[1\] .*'segmentation' is missing"),
    'empty mask in gt': (field('annotations', POLYGON, 'segmentation', []), r'is \[\], neither polygons'),
    'short polygon': (field('annotations', POLYGON, 'segmentation', [[1, 2, 3, 4]]), r'three or more x, y'),
    'far polygon': (field('annotations', POLYGON, 'segmentation', [[0, 0, 1e9, 0, 0, 5]]), r'far outside'),
    'polygon of text': (field('annotations', POLYGON, 'segmentation', [[0, 0, 'a', 0, 0, 5]]), r'numbers'),
    'no mask in results': (drop('dt', 1, 'segmentation'), r"results\[1\]: field 'segmentation' is missing; .*segm"),
    'polygon in results': (field('dt', 1, 'segmentation', [[1, 2, 3, 4, 5, 6]]), r'not run-length encoding'),
    'mask of another size': (
        field('dt', 1, 'segmentation', {'size': [9, 9], 'counts': 'Q2'}),
        rf'size \[9, 9\], where the image\'s \[height, width\] is \[{SIZE}, {SIZE}\]',
    ),
    'mask cut short': (
        field('dt', 1, 'segmentation', {'size': [SIZE, SIZE], 'counts': 'oo'}),
        r'results\[1\]: .* counts that do not fill its size',
    ),
    'mask without counts': (field('dt', 1, 'segmentation', {'size': [SIZE, SIZE]}), r'has the counts None'),
    'image without height': (drop('images', 1, 'height'), r"images\[1\] .*'height' is missing"),
    'image of height 0': (field('images', 1, 'height', 0), r'images\[1\] .*height and width are \[0, 64\]'),
}


@pytest.mark.parametrize('change, sentence', CASES.values(), ids=CASES.keys())
def test_one_sentence_for_each_mistake(change, sentence):
    gt, dt = copy.deepcopy((GT, DT))
    change(gt, dt)
    with pytest.raises(InputError) as caught:
        evaluate(gt, dt, ('bbox', 'segm'), FEW)
    message = str(caught.value)
    assert re.search(sentence, message), message
    assert message.startswith(('ground truth: ', 'results: '))
    assert message.endswith('.') and '\n' not in message and '; ' in message


def test_the_messages_name_the_file(tmp_path):
    gt, dt = tmp_path / 'gt.json', tmp_path / 'dt.json'
    gt.write_text(json.dumps(GT))
    dt.write_text(json.dumps([DT[0], {**DT[1], 'score': NAN}]))
    with pytest.raises(InputError, match=re.escape(f"{dt}: results[1]: field 'score' is nan")):
        evaluate(gt, dt)


FILES = {
    'missing': (None, 'no such file'),
    'empty': (b'', 'not valid JSON'),
    'cut': (b'{"images": [', 'not valid JSON'),
    'binary': (b'\x89PNG\r\n\x1a\n\xff\xfe\xfa', 'not valid JSON'),
    'deep': (b'[' * 200_000, 'not valid JSON'),
    'half a gzip': (gzip.compress(b'[]' * 99)[:15], 'cannot be read'),
    'no gzip': (b'\x1f\x8bhello world, hello world', 'cannot be read'),
    'number': (b'3', 'must be a JSON'),
    'null': (b'null', 'must be a JSON'),
}


@pytest.mark.parametrize('content, sentence', FILES.values(), ids=FILES.keys())
@pytest.mark.parametrize('broken', ['gt', 'dt'])
def test_unreadable_files(tmp_path, broken, content, sentence):
    path = tmp_path / 'broken.json'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path)) + '.*' + sentence):
        evaluate(*((path, DT) if broken == 'gt' else (GT, path)))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match='cannot be read'):
        evaluate(tmp_path, DT)


def test_files_the_wrong_way_round():
    with pytest.raises(InputError, match='looks like a results file'):
        evaluate(DT, GT)
    with pytest.raises(InputError, match='looks like a ground-truth file'):
        evaluate(GT, GT)


def test_gzip_and_plain_and_loaded_are_the_same(tmp_path):
    (tmp_path / 'gt.json.gz').write_bytes(gzip.compress(json.dumps(GT).encode()))
    (tmp_path / 'dt.json').write_text(json.dumps(DT))
    from_files = evaluate(str(tmp_path / 'gt.json.gz'), tmp_path / 'dt.json', name='x')['bbox']
    assert from_files.all == evaluate(GT, DT, name='x')['bbox'].all


def test_numpy_values_are_numbers():
    dt = [{**row, 'score': np.float64(row['score']), 'bbox': np.array(row['bbox'])} for row in DT]
    dt = [{**row, 'image_id': np.int64(row['image_id'])} for row in dt]
    assert evaluate(GT, dt)['bbox'].all == evaluate(GT, DT)['bbox'].all


def test_masks_alone_need_no_box():
    dt = [{key: value for key, value in row.items() if key != 'bbox'} for row in DT]
    assert evaluate(GT, dt, 'segm')['segm'].all == evaluate(GT, DT, 'segm')['segm'].all


@pytest.mark.parametrize('arguments', [{'iou_types': ('keypoints',)}, {'iou_types': ()}, {'engine': 'x'}])
def test_unknown_arguments(arguments):
    with pytest.raises(InputError, match='choose from'):
        evaluate(GT, DT, **arguments)


def test_strata_with_one_name():
    with pytest.raises(InputError, match='share the name'):
        evaluate(GT, DT, by=[*bins([0, 0.5]), *bins([0, 0.5000000001])])


ODD = [
    10**400, -(10**30), 2**63, '0', [[]], [[1, 2, 3, 4, 5, 6]],
    {'size': [SIZE, SIZE], 'counts': [SIZE**2]}, {'size': [64.0, 64.0], 'counts': 'PT4'},
    {'size': [SIZE, SIZE], 'counts': b'\x80'},
]  # fmt: skip
junk = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 150), st.integers(), st.floats(), st.text(max_size=3),
    st.lists(st.one_of(st.integers(-9, 99), st.floats(), st.none()), max_size=7), st.sampled_from([[], {}, *ODD]),
)  # fmt: skip


def places(value, path=()):
    """Every path into nested lists and dictionaries."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


PLACES = list(places([GT, DT]))[1:]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.booleans(), junk), min_size=1, max_size=3))
def test_no_other_error_whatever_the_files_hold(changes):
    both = copy.deepcopy([GT, DT])
    for path, remove, value in changes:
        try:
            target = both
            for key in path[:-1]:
                target = target[key]
            if remove and len(path) > 1:
                del target[path[-1]]
            else:
                target[path[-1]] = value
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # an earlier change took the place away
    if isinstance(both[0], str) or isinstance(both[1], str):
        return  # a path, which other tests cover
    try:
        result = evaluate(both[0], both[1], ('bbox', 'segm'), FEW)
    except InputError as error:
        assert '\n' not in str(error)
    else:
        assert result['segm'].to_json()
