"""Forty files after public reports: each is read for what it means, or named for what it is.

A row of the table changes the good set in the way of one report. What is right is one of: the numbers of the set as it
is, those of plain pycocotools on what the changed files mean, or one sentence; and notes where a number would mislead.
"""

import csv

import pytest

from . import reported_ground_truth, reported_results
from .base import Files, corners, encoded, plain
from .outcomes import assert_named, assert_noted, assert_plain, assert_same
from .table import ROWS


@pytest.mark.parametrize('name', ROWS)
def test_reported(name, tmp_path):
    report, files = ROWS[name], Files(tmp_path)
    meaning = report.change(files)
    outcome = files.run('eval', *report.options)
    if report.named and (outcome.code == 2 or not report.read):
        assert_named(outcome, *report.named)
        return
    if meaning is None:
        assert_same(outcome, *report.options)
    else:
        types = report.options[1:] if '--iou-type' in report.options else ['bbox']
        assert_plain(outcome, *(plain(*meaning, iou_type) for iou_type in types if iou_type in ('bbox', 'segm')))
    assert_noted(outcome.notes, *report.notes)
    assert not report.quiet or outcome.notes == []


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def ratios(files, *options):
    """Image -> r, in the order of the file, as ``ratio`` writes it."""
    outcome = files.ratio(*options)
    assert outcome.code == 0, outcome.err
    with (files.folder / 'r.csv').open(newline='') as file:
        return {record['image_id']: float(record['value']) for record in csv.DictReader(file)}, outcome


def test_06_ratio_needs_no_area(files, tmp_path):
    right, _ = ratios(Files(tmp_path / 'good'))
    for annotation in files.gt['annotations']:
        del annotation['area']
    got, outcome = ratios(files)
    assert got == right and max(right.values()) > 0.3 and outcome.said == []


def test_07_no_detections_is_a_result(files):
    files.dt = []
    (result,) = files.run('eval').results
    for stratum in result['strata']:
        assert all(stratum[name] in ((0.0,) if stratum['num_instances'] else (None,)) for name in ('ap', 'ap50', 'ar'))


def test_07_a_comparison_goes_on_without_detections(files):
    files.write('none.json', [])
    files.results = ('dt.json', 'none.json')
    outcome = files.run('compare', '--bootstrap', '100')
    ours, nothing = outcome.results
    assert ours['strata'] and nothing['strata'][0]['ap'] == 0
    (comparison,) = outcome.document['comparisons']
    assert comparison['differences'][0]['difference'] == -ours['strata'][0]['ap']


def test_15_kins_2020(files):
    for annotation in files.gt['annotations']:
        x, y, w, h = annotation.pop('bbox')
        del annotation['area'], annotation['segmentation']
        annotation |= {
            'iscrowd': 0,
            'a_bbox': [x, y, w, h],
            'i_bbox': [x, y, w / 2, h],
            'a_area': w * h,
            'i_area': w * h / 2,
        }
        annotation |= {
            'a_segm': [corners([x, y, w, h])],
            'i_segm': [corners([x, y, w / 2, h])],
            'oco_id': 1,
            'ico_id': 1,
        }
    got, _ = ratios(files, '--ratio', 'invisible')
    assert got == dict.fromkeys(map(str, range(1, 13)), 0.5)


def test_16_no_visible_mask_means_fully_visible(files):
    hidden = dict.fromkeys(range(1, 13), 0)
    whole = dict.fromkeys(range(1, 13), 0)
    for position, annotation in enumerate(files.gt['annotations']):
        annotation |= {'iscrowd': 0, 'segmentation': [corners(annotation['bbox'])]}
        x, y, w, h = annotation['bbox']
        whole[annotation['image_id']] += w * h
        if position % 3 == 1:
            annotation['visible_mask'] = encoded([corners([x, y, w / 2, h])])
            annotation['invisible_mask'] = encoded([corners([x + w / 2, y, w / 2, h])])
            hidden[annotation['image_id']] += w * h / 2
    assert 'visible_mask' not in files.gt['annotations'][0]
    got, _ = ratios(files, '--ratio', 'invisible')
    assert got == pytest.approx({str(image): hidden[image] / whole[image] for image in hidden}, rel=1e-12)


def test_71_cocoa_as_published_is_named(files):
    region = {
        'segmentation': corners([1, 1, 50, 50]),
        'order': 1,
        'occlude_rate': 0.0,
        'isStuff': 0,
        'area': 2401,
        'name': 'a',
    }
    files.gt['annotations'] = [
        {'id': 1, 'image_id': 1, 'size': 1, 'depth_constraint': '', 'author': 'x', 'regions': [region]},
    ]
    for command in (lambda: files.ratio('--ratio', 'invisible'), lambda: files.run('eval')):
        assert_named(command(), 'COCOA', 'regions')


def test_86_corners_in_ground_truth_are_noted(files):
    for annotation in files.gt['annotations']:
        x, y, w, h = annotation['bbox']
        annotation['bbox'] = [x, y, x + w, y + h]
    outcome = files.ratio()
    assert outcome.code == 0
    assert_noted(outcome.said, 'corner')
    evaluated = files.run('eval')
    assert_plain(evaluated, plain(files.gt, files.dt))
    assert_noted(evaluated.notes, 'corner')


def test_41_the_limit_of_detections_can_be_raised(files):
    reported_results.crowded(files)
    outcome = files.run('eval', '--max-dets', '200')
    assert outcome.results[0]['strata'][0]['ap'] == pytest.approx(1) and outcome.notes == []


def test_58_shards_as_two_models_are_noted(files):
    files.write('dt.json', [record for record in files.dt if record['image_id'] % 2])
    files.write('dt_rank1.json', [record for record in files.dt if not record['image_id'] % 2])
    files.results = ('dt.json', 'dt_rank1.json')
    outcome = files.run('eval')
    assert len(outcome.results) == 2
    assert_noted(outcome.notes, 'no image|--merge')
    assert any('--merge' in note for note in outcome.notes)


def test_82_ratio_and_recall_leave_out_the_same_instances(files):
    reported_ground_truth.ignored(files)
    outcome = files.run('eval', '--instances', '--errors')
    (result,) = outcome.results
    everything = result['strata'][0]
    assert (everything['num_instances'], everything['instances_per_image']) == (36, 3.0)
    assert sum(each['num_instances'] for each in result['instances']) == 36
    assert everything['errors']['background'] == everything['errors']['missed'] == 0
    assert everything['errors']['true_positive'] == 36
    as_instances = files.run('eval', '--ignore', 'as-instances')
    assert_plain(as_instances, plain(files.gt, files.dt))
    assert as_instances.results[0]['strata'][0]['num_instances'] == 48
    assert set(ratios(files)[0].values()) == {0.0}


@pytest.mark.slow
def test_77_in_all_that_can_be_written(files):
    reported_ground_truth.unspeakable(files)
    formats = ('json', 'csv', 'md', 'html', 'png', 'svg')
    assert files.run('report', '--bootstrap', '20', '--format', *formats).code == 0
    written = {path.suffix[1:] for path in (files.folder / 'out').iterdir()}
    assert written == set(formats)
