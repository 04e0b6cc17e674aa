"""FGSM on detectors: their losses, clean AP, images that fail or have nothing on them, other data sets."""

from __future__ import annotations

import argparse
import json
import math

import pytest
import torch

from mmhybrid.errors import InputError
from mmhybrid.inspecting.analyses import accuracy, attacked, attacks, fgsm, truth
from mmhybrid.inspecting.analyses.attacked import FGSM, RANDOM
from mmhybrid.inspecting.cli import main
from mmhybrid.inspecting.samples import Sample

from .test_fgsm import args_of, loaded

CLEAN = [(FGSM, 0.0)]


@pytest.fixture(scope='module')
def mask_rcnn(two_stage):
    return loaded(two_stage, limit=3)[:2]


@pytest.fixture(scope='module')
def retinanet(one_stage):
    return loaded(one_stage, limit=3)[:2]


@pytest.fixture(params=['mask_rcnn', 'retinanet'])
def detector(request):
    return request.getfixturevalue(request.param)


def test_a_detector_at_epsilon_0_is_what_it_detects(detector):
    (subject, chosen), args = detector, args_of()
    found = fgsm.run([subject], chosen, args).numbers['models'][subject.name]
    batch = subject.prepare(chosen)
    with torch.no_grad():
        samples_ = subject.model.predict(*subject.normalised(batch), rescale=True)  # all at once, masks too
    known = truth.load(subject, chosen)
    ids = [each.image_id for each in chosen]
    clean = accuracy.by_occlusion({i: each.pred_instances for i, each in zip(ids, samples_, strict=True)}, known)
    assert found['images']['all'] == 3 and found['failed'] == 0
    rows = {row.stratum.name: row for row in clean.strata if row.num_images}
    assert list(rows) == list(found['values'])
    for name, values in found['values'].items():
        assert values[FGSM][0] == values[RANDOM][0] == pytest.approx(rows[name].ap, abs=1e-6, nan_ok=True)
        assert found['instances'][name] == rows[name].num_instances
    assert sum(count for name, count in found['images'].items() if name != 'all') == 3


def test_a_detectors_signs_are_those_of_the_sum_of_its_losses(detector):
    subject, chosen, args = detector[0], detector[1][:2], args_of()
    outcome = attacked.of_detector(subject, chosen, CLEAN, args.seed, 2, keep_signs=True)
    for index, sample in enumerate(chosen):
        batch = subject.prepare([sample], annotated=True)
        pixels = batch.pixels[0].requires_grad_()
        with attacks.seeded(args.seed, index, 'cpu'):
            terms = subject.model.loss(*subject.normalised(batch, [pixels]))
        by_name = [key for key in terms if 'loss' in key]
        assert ('loss_mask' in by_name) == hasattr(subject.model, 'roi_head')
        own = [each for key in by_name for each in (terms[key] if isinstance(terms[key], list) else [terms[key]])]
        loss = torch.stack([each.mean() for each in own]).sum()
        (gradient,) = torch.autograd.grad(loss, pixels)
        assert outcome.attacks[index].loss == pytest.approx(loss.item(), rel=1e-5)
        large = gradient.abs() > 1e-6 * gradient.abs().max()
        assert large.double().mean() > 0.1
        assert torch.equal(outcome.attacks[index].signs[large], gradient.sign()[large])


def test_numbers_repeat_and_nothing_of_a_model_changes(mask_rcnn):
    subject, chosen, args = mask_rcnn[0], mask_rcnn[1][:1], args_of(batch_size=3)
    before = {name: value.clone() for name, value in subject.model.state_dict().items()}
    head = subject.model.roi_head.mask_head
    first = fgsm.run([subject], chosen, args).numbers
    torch.rand(7)
    args.batch_size = 1
    second = fgsm.run([subject], chosen, args).numbers
    name = subject.name
    assert first['models'][name]['loss_by_image'] == second['models'][name]['loss_by_image']
    assert first['models'][name]['values']['all'][FGSM] == pytest.approx(
        second['models'][name]['values']['all'][FGSM], abs=1e-6
    )
    assert subject.model.roi_head.mask_head is head
    after = subject.model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert all(each.grad is None for each in subject.model.parameters())
    args.seed = 1
    other = fgsm.run([subject], chosen, args).numbers
    assert other['models'][name]['loss_by_image'] != first['models'][name]['loss_by_image']  # other regions are drawn


def test_images_without_instances_or_masks_are_attacked(mask_rcnn):
    (subject, chosen), args = mask_rcnn, args_of(random=False)
    empty = Sample('empty', {**chosen[0].info, 'instances': []})
    boxes = [{key: value for key, value in each.items() if key != 'mask'} for each in chosen[1].info['instances']]
    bare = Sample('bare', {**chosen[1].info, 'instances': boxes})
    found = fgsm.run([subject], [empty, bare], args).numbers['models'][subject.name]
    assert found['failed'] == 0 and found['zero_gradients'] == 0


def test_a_failed_image_of_a_detector_is_left_out_everywhere(mask_rcnn, monkeypatch):
    (subject, chosen), args = mask_rcnn, args_of(random=False)
    kept = chosen[:2]
    attack = attacked._attack_detector
    bad = chosen[2].name

    def failing(model, batch, names=(bad,)):
        if not batch.data_samples[0].img_path.endswith(names):
            return attack(model, batch)
        return attacks.attacks(batch.pixels[0].requires_grad_().sum()[None] * math.nan, batch.pixels)[0]

    monkeypatch.setattr(attacked, '_attack_detector', failing)
    found = fgsm.run([subject], chosen, args)
    numbers = found.numbers['models'][subject.name]
    assert numbers['failed_images'] == [bad] and numbers['images']['all'] == 2
    assert any('on 1 of 3 images the attack failed' in note for note in found.notes)
    outcome = attacked.of_detector(subject, kept, CLEAN, 0, 4)
    only = accuracy.by_stratum(outcome, [each.image_id for each in kept], truth.load(subject, kept), [0.0])
    assert numbers['values']['all'][FGSM][0] == pytest.approx(only.curves['all'][FGSM, 0.0], abs=1e-6)
    monkeypatch.setattr(attacked, '_attack_detector', lambda model, batch: failing(model, batch, ''))
    answer = fgsm.run([subject], chosen, args).answer
    assert answer == [f'{subject.name}: the attack failed on every image, so nothing is known of how it holds up.']


def test_ground_truth_of_a_data_set_that_is_not_cocos(mask_rcnn):
    subject, chosen = mask_rcnn
    own, known = truth.from_samples(chosen, subject.classes), truth.load(subject, chosen)
    outcome = attacked.of_detector(subject, chosen, CLEAN, 0, 4)
    ids = [each.image_id for each in chosen]
    by = [accuracy.by_stratum(outcome, ids, each, [0.0]) for each in (own, known)]
    assert by[0].counts == by[1].counts and by[0].more['instances'] == by[1].more['instances']
    assert by[0].curves['all'][FGSM, 0.0] == pytest.approx(by[1].curves['all'][FGSM, 0.0], abs=1e-9)


def test_a_detector_end_to_end(one_stage, tmp_path):
    out = tmp_path / 'out'
    main(['fgsm', one_stage.config, one_stage.checkpoint, '--limit', '2', '--epsilons', '0.01', '--out-dir', str(out),
          '--device', 'cpu', '--no-random', '--name', 'Retina'])  # fmt: skip
    document = json.loads((out / 'fgsm.json').read_text(encoding='utf-8'))
    values = document['numbers']['models']['Retina']['values']
    assert list(values['all']) == [FGSM] and len(values['all'][FGSM]) == 2
    assert {path.name for path in out.iterdir()} == {'fgsm.png', 'fgsm.svg', 'fgsm.json'}


def test_recomputed_activations_are_no_obstacle(mask_rcnn, monkeypatch):
    subject, chosen = mask_rcnn[0], mask_rcnn[1][:1]
    plain = attacked.of_detector(subject, chosen, CLEAN, 0, 1, keep_signs=True).attacks[0]
    blocks = [each for each in subject.model.modules() if hasattr(each, 'with_cp')]
    for block in blocks:
        monkeypatch.setattr(block, 'with_cp', True)
    again = attacked.of_detector(subject, chosen, CLEAN, 0, 1, keep_signs=True).attacks[0]
    assert blocks and all(block.with_cp for block in blocks)
    assert again.loss == plain.loss and torch.equal(again.signs, plain.signs)


def test_a_detector_without_what_training_needs_is_told(retinanet, monkeypatch):
    (subject, chosen), args = retinanet, args_of()
    monkeypatch.delattr(subject.model.bbox_head, 'assigner')
    with pytest.raises(InputError, match='losses of RetinaNet cannot be computed'):
        fgsm.run([subject], chosen, args)


def test_models_that_cannot_be_compared():
    def model(name, kind, *classes):
        return argparse.Namespace(name=name, kind=kind, classes=classes, cfg={})

    with pytest.raises(InputError, match='a is a backbone without a head'):
        fgsm.check([model('a', 'backbone')])
    with pytest.raises(InputError, match='a is a detector and b a classifier'):
        fgsm.check([model('a', 'detector'), model('b', 'classifier')])
    with pytest.raises(InputError, match='a and b have different classes'):
        fgsm.check([model('a', 'detector', 'cat'), model('b', 'detector', 'dog')])
    assert fgsm.check([model('a', 'detector', 'cat'), model('b', 'detector')]) == 'detector'  # its names are not known


def test_regions_without_classes_are_refused():
    rpn = argparse.Namespace(name='a', kind='detector', classes=(), cfg={'model': {'type': 'RPN'}})
    with pytest.raises(InputError, match='regions instead of boxes with classes'):
        fgsm.check([rpn])
