"""``mmhybrid inspect proposals`` on small detectors."""

import argparse
import contextlib
import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmhybrid.datasets.occluded_shapes import CATEGORIES
from mmhybrid.errors import InputError
from mmhybrid.inspecting import cli, samples, subjects
from mmhybrid.inspecting.analyses import proposal_steps, proposals
from mmhybrid.inspecting.analyses.proposal_counts import STRATA
from mmhybrid.inspecting.analyses.proposal_steps import NEVER, Reader, arguments_of
from mmhybrid.inspecting.analyses.proposal_words import STEP_NAMES
from mmhybrid.inspecting.drawing import proposal_boxes
from mmhybrid.inspecting.drawing import proposals as charts
from mmhybrid.inspecting.findings import to_json
from mmhybrid.occlusion import covered_fractions

from ..exporting.models import build

KINDS = ('retinanet', 'faster_rcnn', 'mask_rcnn', 'cascade_mask_rcnn')
SIZE = 96


def load(words, **options):
    defaults = dict(device='cpu', seed=0, cfg_options={}, allow_missing=None, launcher='none', local_rank=0)
    defaults |= dict(work_dir=None, images=[], limit=6, batch_size=3, score_thr=0.3, iou_thr=0.5, draw=2)
    args = argparse.Namespace(**{**defaults, **options})
    return subjects.load(words, [], args), args


def subject(model, name='it'):
    return subjects.Subject(name, f'{name}.py', None, 'detector', model, ('a', 'b', 'c'), 'cpu')


def inputs():
    shape = (SIZE, SIZE)
    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, *shape, generator=generator), [DetDataSample(metainfo=meta) for _ in range(2)]


@pytest.fixture
def models_words(two_stage, one_stage, tmp_path):
    """Config and checkpoint of the detector with two stages and of that with one; the checkpoints name classes."""
    words = []
    for config, path in (two_stage, one_stage):
        checkpoint = torch.load(path, weights_only=False)
        checkpoint['meta'] = {'dataset_meta': {'classes': [each['name'] for each in CATEGORIES]}}
        torch.save(checkpoint, tmp_path / f'{Path(config).stem}.pth')
        words.append([config, str(tmp_path / f'{Path(config).stem}.pth')])
    return words


@pytest.mark.parametrize('kind', KINDS)
def test_detections_are_the_models_own_and_come_from_the_boxes_before(kind):
    model, (pixels, metas) = build(kind), inputs()
    part = model.bbox_head if kind == 'retinanet' else model.roi_head
    settings = copy.deepcopy((model.test_cfg, part.test_cfg))
    reader = Reader(subject(model), 0.32)
    with torch.no_grad():
        own = model.predict(pixels, copy.deepcopy(metas), rescale=False)
    steps = reader(pixels, metas)
    assert sum(len(each.after.boxes) for each in steps) > 5
    for each, sample in zip(steps, own, strict=True):
        kept = sample.pred_instances[sample.pred_instances.scores > 0.32]
        np.testing.assert_array_equal(each.after.boxes, kept.bboxes.double().numpy())
        np.testing.assert_array_equal(each.after.scores, kept.scores.double().numpy())
        np.testing.assert_array_equal(each.after.labels, kept.labels.numpy())
        assert len(each.before.boxes) > len(each.after.boxes)
        assert (np.diff(each.before.scores) <= 0).all() and each.before.scores.min() > 0.32
        rows = {(*box, label) for box, label in zip(each.before.boxes.tolist(), each.before.labels, strict=True)}
        assert rows >= {(*box, label) for box, label in zip(each.after.boxes.tolist(), each.after.labels, strict=True)}
    # Nothing was changed.
    assert settings == (model.test_cfg, part.test_cfg)
    with torch.no_grad():
        again = model.predict(pixels, copy.deepcopy(metas), rescale=False)
    for sample, other in zip(own, again, strict=True):
        torch.testing.assert_close(sample.pred_instances.bboxes, other.pred_instances.bboxes, rtol=0, atol=0)


def test_levels_that_cannot_be_told_are_said_to_be_unknown(models_words, monkeypatch):
    for module, name in [(charts, 'plot_counts'), (charts, 'plot_levels'), (proposal_boxes, 'plot_boxes')]:
        monkeypatch.setattr(module, name, lambda *_: None)
    models, args = load(models_words[:1], score_thr=0.1, iou_thr=0.1)
    shown = samples.find(models[0], args, True)
    # An RPN that does not say, and an extractor that pools from all levels.
    monkeypatch.setattr(proposal_steps, 'levels_kept', lambda rpn: contextlib.nullcontext())
    found = proposals.run(models, shown, args)
    assert any(note.endswith('cannot be told of: proposals.') for note in found.notes)
    assert set(found.numbers['models'][models[0].name]['level_shares']) == {'before', 'after'}
    monkeypatch.setattr(proposal_steps.Reader, '_separable', lambda *_: False)
    found = proposals.run(models, shown, args)
    assert any(note.endswith('cannot be told of: proposals, before NMS, detections.') for note in found.notes)
    assert 'levels' not in found.figures and 'level' not in found.about


def test_the_detectors_own_threshold_counts_where_it_is_higher(models_words, monkeypatch):
    for module, name in [(charts, 'plot_levels'), (proposal_boxes, 'plot_boxes')]:
        monkeypatch.setattr(module, name, lambda *_: None)
    models, args = load(models_words[:1], score_thr=0.0, iou_thr=0.1)
    shown = samples.find(models[0], args, True)
    models[0].model.roi_head.test_cfg.score_thr = 0.15
    low = proposals.run(models, shown, args)
    equal = proposals.run(models, shown, argparse.Namespace(**vars(args) | {'score_thr': 0.15}))
    assert low.numbers['models'][models[0].name]['score_thr'] == 0.15
    assert 'boxes of a score above 0.15 before NMS' in low.answer[0] and low.answer == equal.answer
    titles = [axes.get_title(loc='left') for axes in low.figures[''].axes]
    assert 'score above 0.15, before NMS' in titles
    assert any('so that this counts here and not --score-thr 0.' in note for note in low.notes)
    # Advice that would not help is not given.
    models[0].model.roi_head.test_cfg.score_thr = 0.999
    notes = proposals.run(models, shown, args).notes
    assert any('above 0.999; lower test_cfg.score_thr of the detector' in note for note in notes)
    assert not any('lower --score-thr' in note for note in notes)
    models[0].model.roi_head.test_cfg.score_thr = 0.15
    notes = proposals.run(models, shown, argparse.Namespace(**vars(args) | {'score_thr': 0.999})).notes
    assert any('above 0.999; lower --score-thr to see more.' in note for note in notes)


@pytest.mark.parametrize('kind', ['retinanet', 'mask_rcnn'])
def test_everything_comes_back_after_an_error(kind, monkeypatch):
    model, (pixels, metas) = build(kind), inputs()
    part = model.bbox_head if kind == 'retinanet' else model.roi_head
    reader = Reader(subject(model), 0.3)
    before, settings = set(vars(reader.head)), copy.deepcopy(part.test_cfg)

    def fails(*args, **kwargs):
        raise RuntimeError('no memory')

    # Within what is stopped, and while NMS is off.
    for target, name in [(reader.head, 'forward'), (type(reader.head), 'predict_by_feat')]:
        with monkeypatch.context() as patch:
            patch.setattr(target, name, fails)
            with pytest.raises(RuntimeError, match='no memory'):
                reader(pixels, metas)
        assert set(vars(reader.head)) == before and part.test_cfg == settings
    if kind == 'mask_rcnn':
        with monkeypatch.context() as patch:
            patch.setattr(type(model.rpn_head), '_bbox_post_process', fails)
            with pytest.raises(RuntimeError, match='no memory'):
                reader(pixels, metas)
        assert '_bbox_post_process' not in vars(model.rpn_head)
    assert part.test_cfg.nms.iou_threshold != NEVER


def test_a_run_that_reaches_no_head_is_told():
    head = build('retinanet').bbox_head
    assert arguments_of(head, lambda: None) is None and 'predict_by_feat' not in vars(head)


def test_images_without_proposals_have_no_boxes(monkeypatch):
    model, (pixels, metas) = build('faster_rcnn'), inputs()
    nothing = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0))
    monkeypatch.setattr(model.rpn_head, 'predict', lambda *_, **__: [nothing, nothing])
    for each in Reader(subject(model), 0.3)(pixels, metas):
        assert [len(part.boxes) for part in (each.proposals, each.before, each.after)] == [0, 0, 0]


def test_a_limit_of_detections_that_cuts_is_told():
    pixels, metas = inputs()
    assert not any(each.capped for each in Reader(subject(build('mask_rcnn', max_per_img=10**4)), 0.32)(pixels, metas))
    few = Reader(subject(build('mask_rcnn', max_per_img=2)), 0.32)(pixels, metas)
    assert all(each.capped and len(each.after.boxes) == 2 < len(each.before.boxes) for each in few)


def test_models_without_suppression_are_refused():
    model = build('retinanet')
    model.bbox_head.test_cfg = ConfigDict(max_per_img=100)  # as DETR's
    with pytest.raises(InputError, match='it: RetinaNet does not end with non-maximum suppression'):
        Reader(subject(model), 0.3)
    rpn = build('mask_rcnn')
    del rpn.rpn_head
    with pytest.raises(InputError, match='MaskRCNN has no RPN'):
        Reader(subject(rpn), 0.3)
    one = subjects.Subject('r50', 'resnet50', None, 'backbone', build('retinanet').backbone, (), 'cpu')
    with pytest.raises(
        InputError, match=r'^r50 is a backbone, which proposes no boxes; give the config of a detector\.$'
    ):
        Reader(one, 0.3)


def test_instances_are_covered_as_the_occlusion_package_says():
    info = {
        'instances': [
            dict(bbox=[0, 0, 10, 10], bbox_label=0, ignore_flag=0),
            dict(bbox=[5, 0, 15, 10], bbox_label=1, ignore_flag=0),
            dict(bbox=[0, 0, 90, 90], bbox_label=0, ignore_flag=1),  # a crowd, which covers nothing
            dict(bbox=[30, 30, 40, 40], bbox_label=0),
        ]
    }
    found = proposals.covered(samples.Sample('a.jpg', info))
    assert (
        found.tolist() == [0.5, 0.5, 0] == covered_fractions([[0, 0, 10, 10], [5, 0, 10, 10], [30, 30, 9, 9]]).tolist()
    )
    assert proposals.covered(samples.Sample('b.jpg', {})).tolist() == []


def test_images_are_drawn_that_have_the_most_occluded_instances():
    fractions = [np.array([0.9]), np.array([]), np.array([0.7, 0.8]), np.array([0.1]), np.array([1.0, 0.2])]
    assert proposals.chosen(fractions, 3) == [2, 4, 0]
    assert proposals.chosen(fractions, 9) == [2, 4, 0, 3]


def test_end_to_end(models_words, tmp_path, capsys):
    two, one = models_words
    words = ['proposals', *two, '--versus', *one, '--name', 'two', 'one', '--limit', '8', '--seed', '3']
    words += [
        '--score-thr',
        '0.1',
        '--iou-thr',
        '0.1',
        '--format',
        'png',
        '--device',
        'cpu',
        '--batch-size',
        '3',
        '--out-dir',
    ]
    assert cli.main([*words, str(tmp_path / 'a')]) == 0
    said = capsys.readouterr()
    said_out = said.out
    assert 'two: instances covered' in said.out and 'shows no difference between architectures' in said.err
    document = json.loads((tmp_path / 'a' / 'proposals.json').read_text())
    numbers = document['numbers']
    assert numbers['strata'] == [*STRATA, 'all'] and sum(numbers['instances'][:-1]) == numbers['instances'][-1] > 8
    n = numbers['instances'][-1]
    assert len(numbers['of_instances']['covered']) == n
    for name, is_two in [('two', True), ('one', False)]:
        model = numbers['models'][name]
        assert model['two_stages'] is is_two and model['levels'][:3] == ['stride 8', 'stride 16', 'stride 32']
        columns = model['of_instances']
        assert ('proposals' in columns) is is_two and sum(columns['before']) > sum(columns['after']) > 0
        assert model['measures']['before']['values'][-1] == pytest.approx(sum(columns['before']) / n)
        for step, said in model['level_shares'].items():
            assert sum(said['shares'][-1]) == pytest.approx(1)
            assert said['of'] == (('anchor' if step == 'proposals' else 'RoI') if is_two else 'anchor or point')
            title = f'{name}: level of the FPN, {STEP_NAMES[step]}: percent by stride of the {said["of"]}'
            assert title in [table['title'] for table in document['tables']]
    for part in ('one whose anchor made it', 'were pooled from', 'anchor or point made it', 'not COCO’s matching'):
        assert part in document['about']
    # The tables fit a terminal of 80 columns: no cell is broken.
    assert all(len(line) <= 80 for line in said_out.splitlines() if line.startswith(('0 ', '(', 'all ')))
    for table in document['tables']:
        for row in table['rows']:
            assert re.search(r'\s+'.join(map(re.escape, row)) + r'\s*$', said_out, re.MULTILINE), row
    for figure in ('proposals', 'proposals_boxes', 'proposals_levels'):
        assert (tmp_path / 'a' / f'{figure}.png').stat().st_size > 10_000


def test_the_same_again_and_classes_are_compared_by_name(models_words, monkeypatch):
    for module, name in [(charts, 'plot_counts'), (charts, 'plot_levels'), (proposal_boxes, 'plot_boxes')]:
        monkeypatch.setattr(module, name, lambda *_: None)
    models, args = load(models_words[:1], score_thr=0.1, iou_thr=0.1)
    shown = samples.find(models[0], args, True)
    first, again = (to_json(proposals.run(models, shown, args).numbers) for _ in range(2))
    assert first == again
    # The same head, whose classes are named in another order, finds other things.
    models[0].classes = models[0].classes[::-1]
    first, turned = (
        json.loads(each)['models'][models[0].name]['of_instances']
        for each in (first, to_json(proposals.run(models, shown, args).numbers))
    )
    assert first['proposals'] == turned['proposals'] and sum(first['proposals']) > 0
    assert first['before'] != turned['before']
    models[0].classes = ('nothing', 'known')
    with pytest.raises(InputError, match=r'tells apart nothing, known, \.\.\. but no class of the data set'):
        proposals.run(models, shown, args)


def test_scenes_are_seen_around_their_instance_within_the_image():
    for box in ([10, 10, 40, 20], [0, 0, 5, 5], [90, 190, 100, 200], [0, 0, 100, 200]):
        x0, y0, x1, y1 = proposal_boxes.window(np.array(box, float), 200, 100)
        assert 0 <= x0 <= box[0] and box[2] <= x1 <= 100 and 0 <= y0 <= box[1] and box[3] <= y1 <= 200
        assert min(x1 - x0, y1 - y0) >= 64


def test_a_classifier_is_refused(two_stage):
    models, args = load([list(two_stage)])
    models[0].kind = 'classifier'
    with pytest.raises(InputError, match='is a classifier, which proposes no boxes'):
        proposals.run(models, samples.find(models[0], args, True), args)
