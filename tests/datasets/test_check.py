"""``mmhybrid data check``: one of each fault, and the same verdict as MMDetection's own data set and reader."""

import contextlib
import copy
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.datasets import CocoDataset

from mmhybrid.datasets.check import KINDS, check_annotations, open_images
from mmhybrid.datasets.check.contents import read_contents
from mmhybrid.datasets.check.dropped import dropped
from mmhybrid.errors import InputError

from . import faulty

REPO = Path(__file__).resolve().parents[2]
# Found by other files than the one with all faults, or in a config.
ELSEWHERE = {'no-instances', 'classes-malformed', 'head-classes', 'classes-differ', 'masks-not-loaded'}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return faulty.write(tmp_path_factory.mktemp('faulty'))


def kinds(report):
    return {each.kind: each.count for each in report.findings}


def opened(report, folder, **options):
    return open_images(report, folder, options.get('wanted'), 2, lambda count: None)


def by_mmdet(document, tmp_path, **options):
    path = tmp_path / 'for_mmdet.json'
    path.write_text(json.dumps(document))
    with contextlib.redirect_stdout(io.StringIO()):
        return CocoDataset(ann_file=str(path), data_prefix=dict(img=''), pipeline=[], serialize_data=False, **options)


def test_one_of_each_fault_is_found(data):
    ann_file, folder = data
    report = opened(check_annotations(ann_file, faulty.CLASSES), folder)
    assert kinds(report) == faulty.RECORDS | faulty.CLASSWISE | faulty.MASKS | faulty.FILES
    assert set(KINDS) == set(kinds(report)) | ELSEWHERE
    for each in report.findings:
        assert 1 <= len(each.examples) <= min(each.count, 5)
        assert each.severity == KINDS[each.kind].severity
    examples = {each.kind: each.examples[0] for each in report.findings}
    assert examples['box-outside'] == 'good.jpg annotation 112 [200, 5, 10, 10] on 64 x 48'
    assert examples['category-order'] == "'person' is trained as 'car'"
    assert examples['file-orientation'] == 'orientation.jpg 64 x 48, turned by 90 degrees, annotated as 64 x 48'


def test_a_sound_set_has_no_findings(tmp_path):
    _, folder = faulty.write(tmp_path, faulty.sound())
    report = opened(check_annotations(faulty.sound(), faulty.CATEGORIES, need_masks=True), folder)
    assert not report.findings
    assert report.instances == {'person': 2, 'car': 1, 'dog': 1}
    assert (report.num_images, report.num_annotations, report.num_categories, report.opened) == (2, 4, 3, 2)
    assert not any(report.dropped.values())


def test_without_points_of_polygons_the_same_is_found(data):
    whole, skimmed = (check_annotations(data[0], faulty.CLASSES, masks=masks) for masks in (True, False))
    expected = [each for each in whole.findings if each.kind not in set(faulty.MASKS) - {'mask-missing'}]
    assert list(skimmed.findings) == expected
    assert skimmed.instances == whole.instances and skimmed.dropped == whole.dropped


@pytest.mark.parametrize(
    'order', [('car', 'person', 'dog'), ('person', 'dog'), ('person', 'cat', 'dog'), ('cat', 'dog')]
)
def test_labels_are_mmdets(order, tmp_path):
    document = faulty.sound()
    dataset = by_mmdet(document, tmp_path, metainfo=dict(classes=order))
    names = {row['id']: row['name'] for row in document['categories']}
    trained = {names[id_]: order[label] for id_, label in dataset.cat2label.items()}
    wrong = [f'{name!r} is trained as {label!r}' for name, label in trained.items() if name != label]
    report = check_annotations(document, order)
    found = {each.kind: each for each in report.findings}
    assert list(found['category-order'].examples if wrong else []) == wrong
    assert ('category-order' in found) == bool(wrong)
    assert list(found['class-missing'].examples if 'cat' in order else []) == (["'cat'"] if 'cat' in order else [])


number = st.one_of(
    st.integers(-20, 90), st.floats(-20, 90), st.sampled_from([0, 1, 0.5, 64, 48, math.nan, math.inf, -math.inf])
)


@given(
    st.lists(
        st.tuples(
            st.lists(number, min_size=4, max_size=4), number, st.sampled_from([0, 1]), st.sampled_from([1, 2, 9])
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(deadline=None, max_examples=60)
def test_what_is_dropped_is_what_mmdet_drops(rows):
    document = faulty.sound(images=('good.jpg',))
    document['annotations'] = [
        dict(id=i, image_id=1, category_id=category, bbox=box, area=area, iscrowd=0, ignore=ignore, segmentation=[[i]])
        for i, (box, area, ignore, category) in enumerate(rows, 1)
    ]
    dataset = CocoDataset(lazy_init=True, data_prefix=dict(img=''))
    dataset.cat_ids, dataset.cat2label = [1, 3], {1: 0, 3: 1}
    image = document['images'][0] | dict(img_id=1)
    parsed = dataset.parse_data_info(dict(raw_img_info=image, raw_ann_info=copy.deepcopy(document['annotations'])))
    kept = [instance['mask'][0][0] for instance in parsed['instances']]
    reasons = dropped(read_contents(document), ('person', 'dog'))
    assert np.sum(list(reasons.values()), axis=0).max() <= 1
    ours = ~np.logical_or.reduce(list(reasons.values()))
    assert [i for i, keeps in enumerate(ours, 1) if keeps] == kept


def test_masks_are_judged_by_what_pycocotools_draws():
    document = faulty.sound(images=('good.jpg',))
    draws = np.random.default_rng(0)
    polygons = [
        (draws.uniform(-2, 70, 2)[None] + draws.normal(0, scale, (3, 2)) * [1, thin]).ravel()
        for scale, thin in [(0.2, 1), (1, 1), (5, 1), (9, 0.02)] * 40
    ]
    document['annotations'] = [
        faulty.instance(i, box=(0, 0, 60 - i / 10, 40), segmentation=[polygon.tolist()])
        for i, polygon in enumerate(polygons, 1)
    ]
    found = {each.kind: each.count for each in check_annotations(document).findings}
    areas = [faulty.mask.area(faulty.mask.frPyObjects([p.tolist()], faulty.HEIGHT, faulty.WIDTH))[0] for p in polygons]
    beyond = [(p.min() < -1) or (p[::2].max() > 65) or (p[1::2].max() > 49) for p in polygons]
    assert found['mask-outside'] == sum(beyond)
    assert found['mask-empty'] == sum(area == 0 for area in areas)
    assert 20 < found['mask-empty'] < 140


@pytest.mark.parametrize(
    ('classes', 'word'),
    [('person', r"write \('person',\)"), ((), 'tuple of names'), (('car', 'car'), 'twice'), ((1, 2), 'tuple of names')],
)
def test_classes_that_are_no_list_of_names(classes, word):
    report = check_annotations(faulty.sound(), classes)
    (error,) = report.errors
    assert error.kind == 'classes-malformed' and re.search(word, error.sentence)


def test_hints_tell_what_may_be_behind_it():
    corners, shares, spelt = faulty.sound(), faulty.sound(), faulty.sound()
    for row in corners['annotations']:
        x, y, width, height = row['bbox']
        row['bbox'] = [x + 30, y + 10, x + 30 + width, y + 10 + height]
    for row in shares['annotations']:
        row['bbox'] = [0.1, 0.1, 0.5, 0.4]
    spelt['categories'][1]['name'] = 'Car '
    hints = [
        ' '.join(f.hint for f in check_annotations(d, faulty.CATEGORIES).findings) for d in (corners, shares, spelt)
    ]
    assert 'x1, y1, x2, y2' in hints[0]
    assert 'shares of the image' in hints[1]
    assert "the file has 'Car ' for 'car'" in hints[2]


def test_nothing_to_learn_from_is_an_error():
    document = faulty.sound() | {'annotations': []}
    assert {each.kind for each in check_annotations(document).errors} == {'no-instances'}
    crowds = faulty.sound()
    for row in crowds['annotations']:
        row['iscrowd'] = 1
    assert {each.kind for each in check_annotations(crowds).errors} == {'no-instances'}


def test_missing_masks_are_an_error_only_where_masks_are_needed():
    document = faulty.sound()
    for row in document['annotations']:
        del row['segmentation']
    assert not check_annotations(document).findings  # a set of boxes
    assert {e.kind for e in check_annotations(document, need_masks=True).errors} == {'mask-missing'}
    document['annotations'][0]['segmentation'] = [[1, 1, 9, 1, 9, 9]]
    (warning,) = check_annotations(document).findings
    assert (warning.kind, warning.severity, warning.count) == ('mask-missing', 'warning', 3)


JUNK = [None, True, -1, 0, 1e400, math.nan, 10**400, '', 'x', '\x1b[31m', [], [1], [[1]], [[None] * 6], {}, {'size': 1}]


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_whatever_the_file_holds_is_one_sentence_or_a_finding(data):
    document = copy.deepcopy(faulty.sound())
    for _ in range(data.draw(st.integers(1, 3))):
        section = data.draw(st.sampled_from(['images', 'categories', 'annotations']))
        if not isinstance(document[section], list):
            continue
        index, junk = data.draw(st.integers(-1, 3)), copy.deepcopy(data.draw(st.sampled_from(JUNK)))
        if index < 0 or index >= len(document[section]):
            document[section] = junk
            continue
        row = document[section][index]
        if isinstance(row, dict) and (field := data.draw(st.sampled_from([*row, 'ignore', None]))):
            row[field] = junk
        else:
            document[section][index] = junk
    with contextlib.suppress(InputError):
        report = check_annotations(document, ('person', 'car', 'dog'))
        assert '\x1b' not in ''.join(each.sentence for each in report.findings)
        json.dumps(report.to_json())


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'not valid JSON'),
        (b'{"images": [', 'not valid JSON'),
        (b'[]', 'results file'),
        (b'{}', "'images' is missing"),
        (b'{"images": {}, "annotations": [], "categories": []}', "'images' is {}, not a list"),
        (b'{"images": [], "annotations": [], "categories": []}', "'images' is empty"),
        (b'{"images": [1], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', 'is 1, no object'),
        (None, 'no such file'),
    ],
)
@pytest.mark.parametrize('masks', [True, False])
def test_a_file_that_is_none_is_one_sentence(content, words, masks, tmp_path):
    path = tmp_path / 'annotations.json'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(words)) as refusal:
        check_annotations(path, masks=masks)
    assert str(path) in str(refusal.value) and '\n' not in str(refusal.value)


def test_needs_neither_torch_nor_mmdetection(data):
    code = (
        'import sys\nfrom mmhybrid.datasets.check import cli\n'
        f'cli.main(["check", "--ann", {str(data[0])!r}, "--images", {str(data[1])!r}, "--sample", "3"])\n'
        'print({"torch", "mmengine", "mmdet", "mmcv", "cv2"} & set(sys.modules), file=sys.stderr)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=REPO)
    assert done.stderr.splitlines()[-1] == 'set()'
    assert '3 images opened (--sample: evenly spread, 12 were not)' in done.stdout
