"""The preset ``crowdhuman``, from files to a table: MMDetection's numbers of all instances, and those of strata."""

import csv
import json
import sys
from pathlib import Path

import pytest

from mmhybrid.occlusion import Details, Selection, Settings, compare, evaluate
from mmhybrid.occlusion.cli import main

from ..analysis.crowdhuman_loops import by_loops
from ..crowds import Reference, crowd, person
from .running import document, refused, results

LINES, RECORDS = crowd(7, 30)
LINES[0]['gtboxes'] += [person([60, 0, 20, 100], share) for share in (0.9, 0.65)]  # where strata meet
BY_IMAGE = {record['ID']: record for record in RECORDS}
PRESET = ['--ann', 'annotation_val.odgt', '--preset', 'crowdhuman']
RANGES = {'bare': (0.9, 2), 'partial': (0.65, 0.9), 'heavy': (0, 0.65)}
KEYS = ('ap', 'mr', 'ji')


def as_lines(rows):
    return ''.join(json.dumps(row) + '\n' for row in rows)


def coco(records, **changes):
    return [
        {'image_id': record['ID'], 'category_id': 1, 'bbox': row['box'], 'score': row['score']} | changes
        for record in records
        for row in record['dtboxes']
    ]


def with_sizes(lines):
    return [line | {key: BY_IMAGE[line['ID']][key] for key in ('width', 'height')} for line in lines]


def only(name, lines=LINES):
    """The lines with all others than a stratum's as masks."""

    def is_in(row):
        low, high = RANGES[name]
        return low <= row['vbox'][3] / row['fbox'][3] < high

    rows = ([row if is_in(row) else row | {'tag': 'mask'} for row in line['gtboxes']] for line in lines)
    return [line | {'gtboxes': own} for line, own in zip(lines, rows, strict=True)]


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('annotation_val.odgt').write_text(as_lines(LINES))
    Path('mmdet.json').write_text(json.dumps(RECORDS))
    truth = [{'box': row['fbox'], 'tag': 1} for row in LINES[1]['gtboxes']]
    Path('dump-30.json').write_text(as_lines(record | {'gtboxes': truth} for record in RECORDS[::-1]))


def measured(arguments):
    (result,) = results([*PRESET, *arguments])
    return {row['name']: row for row in result['strata']}, result


@pytest.mark.parametrize('engine', ['pycocotools', 'hotcoco'])
def test_three_layouts_give_mmdetections_numbers(tmp_path, engine):
    pytest.importorskip(engine)
    pytest.importorskip('scipy')
    reference = Reference(LINES, RECORDS, tmp_path)
    Path('coco.json').write_text(json.dumps(coco(RECORDS)))
    for name in ('mmdet.json', 'dump-30.json', 'coco.json'):
        if name == 'coco.json':  # which has no sizes
            Path('annotation_val.odgt').write_text(as_lines(with_sizes(LINES)))
        rows, result = measured(['--results', name, '--engine', engine])
        assert [rows['all'][key] for key in KEYS] == pytest.approx(reference.measured(), rel=1e-12)
        assert rows['all']['ji_score'] in [i * 0.1 for i in range(10)]
        assert not any('clipped' in note for note in result['notes'])
        assert all(rows['all'][key] is None for key in ('ap50', 'ap75', 'aps', 'apm', 'apl'))


@pytest.mark.parametrize('name', RANGES)
def test_a_stratum_is_mmdetections_with_the_others_as_masks(name, tmp_path):
    rows, _ = measured(['--results', 'mmdet.json'])
    lines = only(name)
    persons = [row for each in lines for row in each['gtboxes'] if row['tag'] == 'person']
    assert rows[name]['num_instances'] == sum(not row.get('extra', {}).get('ignore') for row in persons) > 5
    assert rows[name]['ap'] == pytest.approx(by_loops(lines, RECORDS)[0], rel=1e-12)
    reference = Reference(lines, RECORDS, tmp_path)
    assert [rows[name][key] for key in ('ap', 'mr')] == pytest.approx(reference.measured()[:2], rel=1e-12)


def test_equals_loops_without_regions():
    pytest.importorskip('scipy')
    lines = [
        line | {'gtboxes': [row | {'tag': 'person', 'extra': {}} for row in line['gtboxes']]}
        for line in with_sizes(LINES)
    ]
    Path('annotation_val.odgt').write_text(as_lines(lines))
    rows, _ = measured(['--results', 'mmdet.json'])
    assert [rows['all'][key] for key in ('ap', 'ji')] == pytest.approx(by_loops(lines, RECORDS), rel=1e-12)
    assert sum(rows[name]['num_instances'] for name in RANGES) == rows['all']['num_instances']


def test_a_person_missed_behind_another_counts_in_the_ji_of_its_stratum():
    """On the data set's own regions one does not: so the second image has nothing that counts."""
    pytest.importorskip('scipy')
    front, behind, apart = person([0, 0, 40, 80]), person([10, 0, 40, 80], 0.5), person([200, 0, 40, 80], 0.5)
    lines = [
        {'ID': 'a', 'gtboxes': [front, behind, apart]},
        {'ID': 'b', 'gtboxes': [front | {'tag': 'mask'}, behind]},
    ]
    # Where only the one behind counts, a detection in front would be its own: the IoU of the two is 0.6.
    found = [{'box': apart['fbox'], 'score': 0.9}]
    records = [{'ID': name, 'width': 400, 'height': 400, 'dtboxes': boxes} for name, boxes in (('a', found), ('b', []))]
    Path('annotation_val.odgt').write_text(as_lines(lines))
    Path('mmdet.json').write_text(json.dumps(records))
    rows, _ = measured(['--results', 'mmdet.json'])
    assert rows['heavy']['ji'] == pytest.approx(1 / 2, rel=1e-5)
    assert rows['bare']['ji'] == pytest.approx(0)
    assert rows['all']['ji'] == pytest.approx(1 / 3, rel=1e-5)


def test_table_says_what_it_shows(capsys):
    assert (
        main(
            ['eval', *PRESET, '--results', 'x=mmdet.json', '--out-dir', 'out', '--format', 'csv', 'md', 'png', '--full']
        )
        == 0
    )
    table = capsys.readouterr().out
    assert table.startswith('x: AP, MR^-2 (less is better) and JI in %, by strata of instances (crowdhuman)')
    for text in ('bare: v >= 0.9', 'partial: 0.65 <= v < 0.9', 'heavy: v < 0.65', "are CrowdHuman's, at IoU above 0.5"):
        assert text in ' '.join(table.split())
    assert 'AP75' not in table and 'IoU .75' not in table and 'IoU .50' in table
    rows = list(csv.DictReader(Path('out/occlusion.csv').read_text().splitlines()))
    assert [row['stratum'] for row in rows] == ['all', *RANGES]
    assert all(float(row['ap_low']) <= float(row['ap']) <= float(row['ap_high']) and row['ap50'] == '' for row in rows)
    if rows[0]['ji']:
        assert all(float(row['ji_low']) <= float(row['ji']) <= float(row['ji_high']) for row in rows)


def test_models_are_compared_by_all_three():
    pytest.importorskip('scipy')
    fewer = [record | {'dtboxes': record['dtboxes'][::3]} for record in RECORDS]
    found = compare(
        'annotation_val.odgt',
        {'all': RECORDS, 'fewer': fewer},
        by=Selection(preset='crowdhuman'),
        details=Details(resamples=100),
    )
    differences = {(row.stratum.name, row.metric): row for row in found.comparisons[0].differences}
    assert {metric for _, metric in differences} == {'ap', 'ar', 'mr', 'ji'}
    for metric, is_less in ('ap', True), ('ar', True), ('mr', False), ('ji', True):
        row = differences['all', metric]
        assert row.interval.low <= row.difference <= row.interval.high
        assert (row.difference < 0) == is_less and row.p_value >= 2 / 102
    assert differences['all', 'ap'].p_value == pytest.approx(2 / 101)


def test_without_scipy_the_table_stands(monkeypatch, capsys):
    with_it, _ = measured(['--results', 'mmdet.json'])
    monkeypatch.setitem(sys.modules, 'scipy', None)
    rows, result = measured(['--results', 'mmdet.json', '--bootstrap', '100'])
    assert 'there is no JI, which needs SciPy: pip install scipy' in result['notes']
    assert 'no JI, which needs SciPy' in capsys.readouterr().err
    for name, row in rows.items():
        assert row['ji'] is row['ji_score'] is None and 'ji' not in row['intervals']
        assert [row[key] for key in ('ap', 'mr')] == [with_it[name][key] for key in ('ap', 'mr')]


def test_a_note_tells_where_boxes_cannot_be_clipped():
    Path('coco.json').write_text(json.dumps(coco(RECORDS)))
    rows, result = measured(['--results', 'coco.json'])
    assert any("30 of 30 images have no 'width' and 'height'" in note for note in result['notes'])
    assert rows['all']['ap'] != measured(['--results', 'mmdet.json'])[0]['all']['ap']
    # Two shards know the sizes of all images.
    for i in range(2):
        Path(f'rank{i}.json').write_text(json.dumps(RECORDS[i::2]))
    merged, result = measured(['--results', 'rank0.json', 'rank1.json', '--merge'])
    assert not any('clipped' in note for note in result['notes'])
    assert merged['all']['ap'] == measured(['--results', 'mmdet.json'])[0]['all']['ap']


def test_ground_truth_in_cocos_layout():
    images = [{'id': i, 'file_name': f'{each["ID"]}.jpg', 'width': each['width'], 'height': each['height']}
              for i, each in enumerate(RECORDS)]  # fmt: skip
    annotations = [
        {'image_id': i, 'category_id': 3, 'bbox': row['fbox'], 'vis_bbox': row['vbox'],
         'ignore': int(row['tag'] == 'mask' or bool(row.get('extra', {}).get('ignore')))}
        for i, line in enumerate(LINES) for row in line['gtboxes']
    ]  # fmt: skip
    gt = {'images': images, 'annotations': annotations, 'categories': [{'id': 3, 'name': 'person'}]}
    found = evaluate(gt, RECORDS, by=Selection(preset='crowdhuman'))['bbox']
    rows, _ = measured(['--results', 'mmdet.json'])
    for row in found.strata:
        assert [row.ap, row.mr] == pytest.approx([rows[row.stratum.name][key] for key in ('ap', 'mr')], rel=1e-12)
    assert found.settings == Settings((0.5 + 2e-9,), 10**6, categories=(3,))


def test_what_the_preset_does_not_do_is_refused(capsys):
    arguments = [*PRESET, '--results', 'mmdet.json']
    assert results([*arguments, '--iou-thrs', '0.5'], 'half') == results(arguments)  # as it does in any case
    assert 'evaluates at IoU 0.5 alone; leave IoU thresholds out' in refused(capsys, [*arguments, '--iou-thrs', '0.7'])
    assert 'matches at IoU 0.5 alone; leave iou_thr' in refused(capsys, [*arguments, '--errors', '--error-iou', '0.75'])
    assert 'is of boxes; evaluate bbox alone' in refused(capsys, [*arguments, '--iou-type', 'segm'])
    gt = {
        'images': [{'id': 1}], 'categories': [{'id': 1, 'name': 'person'}, {'id': 2, 'name': 'head'}],
        'annotations': [{'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 9, 9], 'vis_ratio': 1}],
    }  # fmt: skip
    Path('annotation_val.odgt').write_text(json.dumps(gt))
    Path('mmdet.json').write_text('[]')
    assert 'is of one category; name that of persons' in refused(capsys, [*arguments, '--categories', '1', '2'])
    results(arguments)
    assert document('out')['results'][0]['settings']['categories'] == [1]


def test_the_report_speaks_of_crowdhumans_metrics():
    models = ['--results', 'a=mmdet.json', 'b=dump-30.json']
    assert main(['report', *PRESET, *models, '--bootstrap', '0', '--gallery', '0', '--out-dir', 'out']) == 0
    page = Path('out/occlusion.html').read_text()
    assert 'AP, MR^-2 and JI are CrowdHuman&#39;s. JI: the mean' in page and 'COCO average precision' not in page
    assert 'MR^-2 on all instances' in page
