"""AP of whole and of visible masks by hidden share: each data set as published, against pycocotools on a plain file."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from mmhybrid.occlusion import Selection, compare, evaluate
from mmhybrid.occlusion.cli import main
from mmhybrid.occlusion.read.amodal import MASKS

from ..amodal_sets import LAYOUTS, converted, ground_truth, hidden, scene
from ..synthetic import dataset, reference_metrics
from .running import document, refused, results

METRICS = ('ap', 'ap50', 'ap75', 'aps', 'apm', 'apl', 'ar')
ROWS, DT = scene(1, num_images=8)


def strata(h):
    """The definition: none, up to a quarter, more."""
    return {'all': h >= 0, 'none': h == 0, 'partial': (h > 0) & (h <= 0.25), 'heavy': h > 0.25}


def numbers(stratum):
    return [np.nan if stratum[name] is None else stratum[name] for name in METRICS]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('dt.json').write_text(json.dumps(DT))
    for layout in LAYOUTS:
        Path(f'{layout}.json').write_text(json.dumps(ground_truth(ROWS, layout)))


@pytest.mark.parametrize('masks', MASKS)
@pytest.mark.parametrize('engine', ['pycocotools', 'hotcoco'])
def test_every_layout_gives_what_pycocotools_gives_of_a_plain_file(files, masks, engine):
    if engine == 'hotcoco':
        pytest.importorskip('hotcoco')
    parts = strata(hidden(ROWS))
    right = {}
    for iou_type in ('bbox', 'segm'):
        for name, kept in parts.items():
            gt = converted(ROWS, masks, kept)
            ids = [image['id'] for image in gt['images']]
            right[iou_type, name] = reference_metrics(gt, DT, ids, iou_type), int(kept.sum())
    assert len({str(each) for each in right.values()}) == len(right)
    for layout in LAYOUTS:
        options = ['--iou-type', 'bbox', 'segm', '--masks', masks, '--preset', 'amodal', '--engine', engine]
        found = results(['--ann', f'{layout}.json', '--results', 'dt.json', *options, '--force'])
        assert [each['masks'] for each in found] == [masks] * 2
        for result in found:
            # AIStron's boxes, D2SA's and COCOA's are around the masks; an empty one has none either way.
            for stratum in result['strata']:
                reference, count = right[result['iou_type'], stratum['name']]
                assert stratum['num_instances'] == count
                assert numbers(stratum) == pytest.approx(reference, abs=1e-12, nan_ok=True), (layout, stratum['name'])


@pytest.mark.parametrize('masks', MASKS)
def test_the_synthetic_set_as_it_is_drawn(masks):
    pytest.importorskip('PIL')
    from mmhybrid.datasets._coco import CATEGORIES, scene_records
    from mmhybrid.datasets.occluded_shapes import image_rng, render_scene

    scenes = [scene_records(render_scene(image_rng(0, 0, i), 0.15 * i, 96), i) for i in range(1, 6)]
    annotations = [{'id': i, **each} for i, each in enumerate((each for _, part in scenes for each in part), start=1)]
    gt = {'images': [image for image, _ in scenes], 'categories': CATEGORIES, 'annotations': annotations}
    field = {'amodal': 'amodal_segmentation', 'visible': 'segmentation'}[masks]
    rng = np.random.default_rng(0)
    dt = [
        {'image_id': row['image_id'], 'category_id': row['category_id'], 'score': round(float(rng.random()), 2)}
        # The other mask now and then, which is that of another task.
        | {'segmentation': row['amodal_segmentation' if rng.random() < 0.4 else field], 'bbox': row['bbox']}
        for row in annotations
    ]
    h = np.array([1 - row['visible_fraction'] for row in annotations])
    found = evaluate(gt, dt, ('segm',), Selection(preset='amodal'), masks=masks)['segm']
    assert found.masks == masks
    plain = copy.deepcopy(gt)
    for row in plain['annotations']:
        row['area'] = row['amodal_area'] if masks == 'amodal' else row['area']
        row['segmentation'] = row[field]
    for stratum in found.strata:
        kept = strata(h)[stratum.stratum.name]
        assert kept.any()
        for row, keep in zip(plain['annotations'], kept, strict=True):
            row['iscrowd'] = int(not keep)
        reference = reference_metrics(plain, dt, [image['id'] for image in gt['images']], 'segm')
        assert [getattr(stratum, name) for name in METRICS] == pytest.approx(reference, abs=1e-12, nan_ok=True)
    assert found.all.ap != evaluate(gt, dt, ('segm',), masks=MASKS[masks == 'amodal'])['segm'].all.ap


def test_images_and_recall_go_by_the_same_masks(files):
    h = hidden(ROWS)
    options = ['--iou-type', 'segm', '--masks', 'visible', '--ratio', 'invisible', '--instances']
    [result] = results(['--ann', 'KINS 2020.json', '--results', 'dt.json', *options, '--edges', '0', '0.25', '1'])
    assert [each['num_instances'] for each in result['instances'][:1]] == [int((h == 0).sum())]
    assert sum(each['num_instances'] for each in result['instances']) == len(ROWS)
    options[4:] = ['--strata', 'half: v < 0.5', '--instances']
    [result] = results(['--ann', 'KINS 2020.json', '--results', 'dt.json', *options, '--force'])
    assert result['strata'][1]['num_instances'] == (h > 0.5).sum()
    assert result['fraction'] == 'hidden fraction f (masks)'


def test_what_is_evaluated_is_told_once_and_under_the_table(files, capsys):
    gt, _ = 'KINS 2020.json', Path('half.json').write_text(json.dumps(DT[::2]))
    arguments = ['--ann', gt, '--results', 'dt.json', 'half.json', '--iou-type', 'segm', '--bootstrap', '100']
    assert main(['compare', *arguments, '--masks', 'visible', '--preset', 'amodal', '--out-dir', 'o']) == 0
    out, err = capsys.readouterr()
    assert err.count('matched with the visible masks') == 1
    assert 'matched with the visible masks and their boxes' in out
    assert {result['masks'] for result in document('o')['results']} == {'visible'}
    assert main(['eval', '--ann', 'D2SA.json', '--results', 'dt.json', '--preset', 'amodal', '--out-dir', 'p']) == 0
    assert 'whichever masks they are of; --masks amodal or visible chooses' in capsys.readouterr().err
    assert document('p')['results'][0]['masks'] == ''


def test_files_without_two_masks_are_refused_in_one_sentence(files, capsys):
    gt, dt = dataset(0, masks=True)
    Path('plain.json').write_text(json.dumps(gt))
    Path('plain_dt.json').write_text(json.dumps(dt))
    plain = ['--ann', 'plain.json', '--results', 'plain_dt.json', '--iou-type', 'segm']
    error = refused(capsys, [*plain, '--masks', 'amodal'])
    assert 'plain.json' in error and 'has no amodal and visible mask' in error and 'leave masks out (--masks)' in error
    assert 'has no amodal and visible mask' in refused(capsys, [*plain, '--preset', 'amodal'])
    error = refused(capsys, ['--ann', 'KINS 2020.json', '--results', 'dt.json', '--iou-type', 'segm'])
    assert "field 'bbox' is missing" in error and '--masks amodal or visible' in error


def test_models_are_compared_in_python():
    gt = ground_truth(ROWS, 'COCOA')
    compared = compare(gt, {'all': DT, 'half': DT[::2]}, ('segm',), Selection(preset='amodal'), masks='amodal')
    assert [result.masks for result in compared.results] == ['amodal'] * 2
    assert {each.stratum.name for each in compared.comparisons[0].differences} == {'all', 'none', 'partial', 'heavy'}
