"""FGSM: closed forms of linear models, finite differences through the preprocessor, failed attacks, classifiers."""

from __future__ import annotations

import argparse
import copy
import json
import math

import mmcv
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmhybrid.errors import InputError
from mmhybrid.inspecting import samples, subjects
from mmhybrid.inspecting.analyses import accuracy, attacked, attacks, fgsm
from mmhybrid.inspecting.analyses.attacked import FGSM, RANDOM
from mmhybrid.inspecting.cli import main
from mmhybrid.inspecting.samples import Sample
from mmhybrid.inspecting.subjects import Batch, Subject

WANTED = attacked.conditions([0.0, 0.01, 0.05], random=True)


def args_of(**changes):
    given_ = dict(
        device='cpu', seed=0, cfg_options={}, allow_missing=None, launcher='none', local_rank=0, work_dir=None
    )
    given_ |= dict(images=[], limit=4, batch_size=4, epsilons=[0.05], random=True)
    return argparse.Namespace(**{**given_, **changes})


def loaded(made, **changes):
    args = args_of(**changes)
    (subject,) = subjects.load([[made.config, made.checkpoint]], [], args)
    return subject, samples.find(subject, args, annotated=True), args


class Linear(nn.Module):
    """Logits w x + b of all pixels of an image, in float64."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.data_preprocessor = nn.Identity()

    def forward(self, x):
        return x.flatten(1) @ self.weight.T + self.bias


class Direct(Subject):
    """A classifier of pixels themselves, which stand in the samples."""

    def prepare(self, chosen, annotated=False):
        pixels = [sample.info['pixels'].clone() for sample in chosen]
        return Batch(pixels, [None] * len(chosen), torch.tensor([sample.info['label'] for sample in chosen]))

    def normalised(self, batch, pixels=None):
        return torch.stack(list(batch.pixels if pixels is None else pixels)), []


def direct(model, images, labels):
    chosen = [Sample(f'{i}.png', dict(pixels=x, label=y)) for i, (x, y) in enumerate(zip(images, labels, strict=True))]
    return Direct('direct', 'direct.py', None, 'classifier', model, (), 'cpu'), chosen


def logistic_loss(model, pixels, label):
    """log(1 + exp(-m)) of the margin m = (w_y - w_other) x + b_y - b_other."""
    logits = (model.weight * pixels.flatten()).sum(1) + model.bias
    return math.log1p(math.exp(-(logits[label] - logits[1 - label]).item()))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), epsilon=st.floats(0, 0.2), label=st.integers(0, 1))
def test_of_a_logistic_model_step_and_loss_are_in_closed_form(seed, epsilon, label):
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 27, generator=random, dtype=torch.float64) / 255
    model = Linear(weight, torch.randn(2, generator=random, dtype=torch.float64))
    pixels = 80 + 90 * torch.rand(3, 3, 3, generator=random, dtype=torch.float64)  # 80 to 170: nothing is clipped
    subject, chosen = direct(model, [pixels], [label])
    outcome = attacked.of_classifier(subject, chosen, [(FGSM, 0.0), (FGSM, epsilon)], 0, 1, keep_signs=True)
    # The loss rises with -(w_y - w_other) x alone: the step is against the true class, whatever the pixels are.
    towards = -(weight[label] - weight[1 - label])
    assert torch.equal(outcome.attacks[0].signs.flatten(), towards.sign())
    margin = (weight[label] - weight[1 - label]) @ pixels.flatten() + model.bias[label] - model.bias[1 - label]
    expected = math.log1p(math.exp(-(margin.item() - 255 * epsilon * towards.abs().sum().item())))
    assert outcome.losses[FGSM, epsilon][0] == pytest.approx(expected, rel=1e-9)
    assert outcome.losses[FGSM, 0.0][0] == pytest.approx(logistic_loss(model, pixels, label), rel=1e-9)
    assert outcome.losses[FGSM, epsilon][0] >= outcome.losses[FGSM, 0.0][0] - 1e-12


@given(epsilon=st.floats(0, 1), pixels=st.lists(st.floats(0, 255), min_size=1, max_size=8), seed=st.integers(0, 100))
def test_a_step_stays_within_the_range_and_the_distance(epsilon, pixels, seed):
    x = torch.tensor(pixels, dtype=torch.float64)
    signs = torch.from_numpy(np.random.default_rng(seed).integers(-1, 2, len(pixels))).double()
    moved = attacks.step(x, signs, epsilon)
    by_hand = [min(max(a + 255 * epsilon * s, 0), 255) for a, s in zip(pixels, signs.tolist(), strict=True)]
    assert moved.tolist() == pytest.approx(by_hand, abs=1e-9)
    assert moved.min() >= 0 and moved.max() <= 255
    assert (moved - x).abs().max() <= 255 * epsilon + 1e-9


def test_a_step_is_clipped_at_black_and_white():
    x, signs = torch.tensor([0.0, 255.0, 2.0, 254.0, 100.0]), torch.tensor([-1.0, 1, -1, 1, 0])
    assert attacks.step(x, signs, 0.01).tolist() == [0, 255, 0, 255, 100]


@pytest.mark.parametrize('batch_size', [1, 3])
def test_one_image_that_is_not_finite_fails_alone_and_counts_as_nothing(batch_size):
    torch.manual_seed(0)
    model = Linear(torch.randn(3, 12, dtype=torch.float64) / 255, torch.zeros(3, dtype=torch.float64))
    images = list(torch.randint(20, 200, (6, 3, 2, 2)).double())
    images[2][0, 0, 0] = math.nan
    images[4][1, 1, 1] = math.inf
    labels = [int(model(x[None])[0].nan_to_num(0).argmax()) for x in images]  # right on all that are finite
    labels[0] = (labels[0] + 1) % 3  # and here wrong
    subject, chosen = direct(model, images, labels)
    outcome = attacked.of_classifier(subject, chosen, WANTED, 0, batch_size)
    assert outcome.failed == [False, False, True, False, True, False]
    measured = accuracy.by_rank(outcome, [0.0, 0.01, 0.05])
    assert measured.counts == {'top-1': 4}
    assert measured.curves['top-1'][FGSM, 0.0] == 0.75
    notes = list(fgsm._notes({'direct': measured}, {'direct': outcome}, [0.0, 0.01], 'classifier'))
    assert any('on 2 of 6 images the attack failed' in note for note in notes)


def test_an_output_that_stops_being_finite_under_a_step_is_a_failure():
    class Cliff(Linear):
        def forward(self, x):
            logits = super().forward(x)
            return torch.where(x.flatten(1).mean(1, keepdim=True) > 101, torch.full_like(logits, math.inf), logits)

    model = Cliff(torch.tensor([[-1.0] * 12, [1.0] * 12]) / 255, torch.tensor([8.0, 0]))
    subject, chosen = direct(model, [torch.full((3, 2, 2), 100.0), torch.full((3, 2, 2), 40.0)], [0, 0])
    outcome = attacked.of_classifier(subject, chosen, [(FGSM, 0.0), (FGSM, 0.05)], 0, 2)
    assert [each.failed for each in outcome.attacks] == [False, False]
    assert outcome.failed == [True, False]


def test_all_attacks_failing_tells_nothing_of_accuracy():
    model = Linear(torch.full((2, 12), math.nan), torch.zeros(2))
    subject, chosen = direct(model, [torch.ones(3, 2, 2)], [0])
    found = fgsm.run([subject], chosen, args_of())
    assert found.answer == ['direct: the attack failed on every image, so nothing is known of how it holds up.']
    assert found.numbers['models']['direct']['failed_images'] == ['0.png']
    assert math.isnan(found.numbers['models']['direct']['values']['top-1'][FGSM][0])


def test_a_gradient_of_zero_is_told_and_is_no_failure():
    # In float32 a probability of 1 - 1e-40 is 1, and its loss does not change.
    model = Linear(torch.tensor([[1.0] * 12, [-1.0] * 12]), torch.zeros(2))
    subject, chosen = direct(model, [torch.full((3, 2, 2), 200.0), torch.full((3, 2, 2), 0.1)], [0, 0])
    found = fgsm.run([subject], chosen, args_of())
    numbers = found.numbers['models']['direct']
    assert (numbers['zero_gradients'], numbers['failed']) == (1, 0)
    assert any('on 1 of 2 images the whole gradient is 0' in note for note in found.notes)


def test_random_signs_are_by_seed_and_image():
    like = torch.zeros(3, 40, 40)
    signs = attacks.random_signs(like, 5, 2)
    assert torch.equal(signs, attacks.random_signs(like, 5, 2))
    assert not torch.equal(signs, attacks.random_signs(like, 5, 3))
    assert not torch.equal(signs, attacks.random_signs(like, 6, 2))
    assert set(signs.unique().tolist()) == {-1, 1} and abs(signs.mean()) < 0.1


def test_sampling_is_by_seed_and_leaves_the_callers_numbers_alone():
    drawn = []
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002 (the state to be kept)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for index in (0, 0, 1):
        with attacks.seeded(-1, index, 'cpu'):
            drawn.append((torch.rand(3).tolist(), np.random.rand(3).tolist()))  # noqa: NPY002
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ('given_epsilons', 'found'), [([0.01, 0.001], [0, 0.001, 0.01]), ([0, 0.5, 0.5, 1], [0, 0.5, 1])]
)
def test_epsilons_ascend_from_0(given_epsilons, found):
    assert attacks.ladder(given_epsilons) == found


@pytest.mark.parametrize('wrong', [[0], [], [-0.1, 0.2], [1.5], [math.nan]])
def test_epsilons_that_cannot_be(wrong):
    with pytest.raises(InputError, match='--epsilons'):
        attacks.ladder(wrong)


def tiny_classifier(tmp_path, bgr_to_rgb=True, name='tiny', num_classes=3):
    """A classifier's config, its checkpoint and its pictures, whose classes are colours."""
    root = tmp_path / 'pictures'
    if not root.exists():
        random = np.random.default_rng(0)
        for channel, colour in enumerate(('blue', 'green', 'red')):
            for i in range(4):
                image = random.integers(0, 200, (10, 12, 3), dtype=np.uint8)
                image[..., channel] += 55
                mmcv.imwrite(image, str(root / 'test' / colour / f'{i}.png'))
    model = dict(
        type='ImageClassifier',
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=4, stem_channels=4, out_indices=(3,)),
        head=dict(num_classes=num_classes),
        data_preprocessor=dict(
            type='ClassificationPreprocessor', mean=[120.0, 100, 90], std=[5.0, 60, 70], bgr_to_rgb=bgr_to_rgb
        ),
    )
    pipeline = [dict(type='LoadImageFromFile'), dict(type='ResizedCenterCrop', size=8), dict(type='PackImageLabel')]
    data = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='ImageFolder', data_root=str(root), folder='test', pipeline=pipeline),
    )
    config, checkpoint = tmp_path / f'{name}.py', tmp_path / f'{name}.pth'
    Config(dict(default_scope='mmdet', model=model, test_dataloader=data)).dump(config)
    init_default_scope('mmdet')
    torch.manual_seed(1)
    torch.save({'state_dict': MODELS.build(copy.deepcopy(model)).state_dict()}, checkpoint)
    return argparse.Namespace(config=str(config), checkpoint=str(checkpoint))


@pytest.mark.parametrize('bgr_to_rgb', [True, False])
def test_signs_are_those_of_finite_differences_of_pixels(tmp_path, bgr_to_rgb):
    subject, chosen, _ = loaded(tiny_classifier(tmp_path, bgr_to_rgb))
    batch = subject.prepare(chosen[:1], annotated=True)
    found = attacked.of_classifier(subject, chosen[:1], [(FGSM, 0.0)], 0, 1, keep_signs=True).attacks[0]
    exact = copy.deepcopy(subject.model).double()
    mean, std = torch.tensor([120.0, 100, 90]).double(), torch.tensor([5.0, 60, 70]).double()

    def loss(pixels):  # the preprocessor by hand
        rgb = pixels.flip(0) if bgr_to_rgb else pixels
        with torch.no_grad():
            logits = exact(((rgb - mean[:, None, None]) / std[:, None, None])[None])
        return nn.functional.cross_entropy(logits, batch.labels).item()

    x = batch.pixels[0].double()
    assert found.loss == pytest.approx(loss(x), rel=1e-4)
    slopes = []
    for at in range(x.numel()):
        h = torch.zeros_like(x)
        h.view(-1)[at] = 1e-4
        slopes.append((loss(x + h) - loss(x - h)) / 2e-4)
    slopes = torch.tensor(slopes)
    clear = slopes.abs() > 1e-3 * slopes.abs().max()  # below, float32 may round to the other side
    assert clear.sum() > 100
    assert torch.equal(found.signs.flatten()[clear].double(), slopes[clear].sign().double())


def test_a_classifier_end_to_end(tmp_path):
    made = tiny_classifier(tmp_path)
    other = tiny_classifier(tmp_path, name='other')
    out = tmp_path / 'out'
    given_ = ['fgsm', made.config, made.checkpoint, '--versus', other.config, other.checkpoint, '--out-dir', str(out)]
    main([*given_, '--limit', '10', '--epsilons', '0.02', '0.1', '--device', 'cpu', '--format', 'png'])
    document = json.loads((out / 'fgsm.json').read_text(encoding='utf-8'))
    assert (out / 'fgsm.png').stat().st_size > 10_000
    assert document['numbers']['epsilons'] == [0, 0.02, 0.1]
    first, second = document['numbers']['models'].values()
    assert first == second  # the same model by another name
    assert first['images'] == {'top-1': 10}
    # At 0 it is what the model says of the images, whatever the sizes of batches.
    subject, chosen, args = loaded(made, limit=10, batch_size=3, epsilons=[0.02, 0.1])
    batch = subject.prepare(chosen)
    with torch.no_grad():
        right = subject.model(subject.normalised(batch)[0]).argmax(1) == batch.labels
    assert first['values']['top-1'][FGSM][0] == pytest.approx(right.float().mean().item())
    again = fgsm.run([subject], chosen, args).numbers['models']['tiny']
    assert again['loss_by_image'] == pytest.approx(first['loss_by_image'], rel=1e-4)
    assert again['cross_entropy'][RANDOM] == pytest.approx(first['cross_entropy'][RANDOM], rel=1e-4)
    plain, attacked_, harder = first['cross_entropy'][FGSM]
    assert plain < attacked_ and plain < harder


def test_what_labels_of_another_data_set_come_to(tmp_path):
    subject, chosen, args = loaded(tiny_classifier(tmp_path, num_classes=2), limit=12)
    with pytest.raises(InputError, match='has 2 classes, and the data set has a label 2'):
        fgsm.run([subject], chosen, args)
    nameless = [Sample(each.name, {'img_path': each.path}) for each in chosen]
    with pytest.raises(InputError, match='has no label'):
        fgsm.run([subject], nameless, args)
