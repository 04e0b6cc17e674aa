"""Losses against formulas in float64, and what the classifier tells."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import BaseDataElement

from mmhybrid.errors import InputError
from mmhybrid.pretraining import LinearHead, backbones
from mmhybrid.pretraining.mixing import Mixing


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def test_label_smoothing_is_its_formula():
    random = np.random.default_rng(0)
    logits, labels, epsilon = random.normal(0, 3, (7, 5)), random.integers(5, size=7), 0.1
    target = np.full((7, 5), epsilon / 5)
    target[np.arange(7), labels] += 1 - epsilon
    expected = -(target * log_softmax(logits)).sum(1).mean()
    head = LinearHead(3, 5, label_smoothing=epsilon)
    found = head.loss(torch.from_numpy(logits), torch.from_numpy(labels))
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.fixture
def model():
    torch.manual_seed(0)
    options = dict(backbones.backbone_config('resnet18'), base_channels=4, type='mmdet.ResNet')
    model = MODELS.build(
        dict(
            type='mmdet.ImageClassifier',
            backbone=options,
            head=dict(num_classes=5, label_smoothing=0.2),
            mixing=dict(mixup=0.4),
            stem='32x32',
        )
    )
    model.init_weights()
    torch.nn.init.normal_(model.head.fc.weight)  # scores that differ
    return model.eval()


def test_a_mixed_batch_has_the_loss_of_both_labels(model):
    images, labels = torch.randn(6, 3, 16, 16), torch.tensor([0, 1, 2, 3, 4, 0])
    torch.manual_seed(3)
    mixed, order, share = model.mixing(images)
    assert 0 < share < 1
    assert torch.allclose(mixed, share * images + (1 - share) * images[order])
    torch.manual_seed(3)
    found = model(images, labels, mode='loss')['loss'].item()
    logits = model(mixed).detach().double().numpy()
    target = np.full((6, 5), 0.2 / 5)
    target[np.arange(6), labels] += 0.8 * share
    target[np.arange(6), labels[order]] += 0.8 * (1 - share)
    assert found == pytest.approx(-(target * log_softmax(logits)).sum(1).mean(), rel=1e-5)


def test_without_mixing_it_is_plain_cross_entropy(model):
    model.mixing, model.head.label_smoothing = None, 0.0
    images, labels = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    found = model(images, labels, mode='loss')['loss'].item()
    expected = -log_softmax(model(images).detach().double().numpy())[np.arange(4), labels].mean()
    assert found == pytest.approx(expected, rel=1e-5)


def test_predictions_name_their_pictures(model):
    images, samples = torch.randn(2, 3, 16, 16), [BaseDataElement(metainfo=dict(img_path=f'{i}.jpg')) for i in (0, 1)]
    with torch.no_grad():
        results = model(images, torch.tensor([3, 1]), samples, mode='predict')
    assert [(r['label'], r['img_path']) for r in results] == [(3, '0.jpg'), (1, '1.jpg')]
    logits = model(images).detach().double().numpy()
    assert np.allclose(np.stack([r['scores'] for r in results]), np.exp(log_softmax(logits)), atol=1e-6)
    assert set(model(images, mode='predict')[0]) == {'scores'}


def test_the_state_dict_has_mmpretrains_names(model):
    names = model.state_dict().keys()
    assert {name.partition('.')[0] for name in names} == {'backbone', 'head'}
    assert {'head.fc.weight', 'head.fc.bias', 'backbone.conv1.weight'} <= names


def test_cutmix_replaces_a_box_of_the_share_that_it_tells():
    torch.manual_seed(0)
    images = torch.arange(8.0)[:, None, None, None].expand(8, 3, 20, 30).clone()
    mixing, shares = Mixing(cutmix=1.0), []
    for _ in range(50):
        mixed, order, share = mixing(images)
        same = mixed[:, 0] == images[:, 0]
        for i in range(8):
            other = int(order[i])
            if other == i:
                assert same[i].all()
                continue
            assert (mixed[i] == torch.where(same[i], float(i), float(other))).all()
            assert same[i].float().mean().item() == pytest.approx(share)
            rows, columns = (~same[i]).any(1).nonzero(), (~same[i]).any(0).nonzero()
            assert len(rows) * len(columns) == (~same[i]).sum()  # one box
        shares.append(share)
    assert min(shares) < 0.3 and max(shares) > 0.9
    assert torch.equal(images[:, 0, 0, 0], torch.arange(8.0))  # the batch itself stays


def test_shares_of_mixup_are_beta():
    torch.manual_seed(0)
    mixing, images = Mixing(mixup=0.4), torch.zeros(2, 3, 1, 1)
    shares = np.array([mixing(images)[2] for _ in range(2000)])
    # A Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * 1.8), rel=0.07)


def test_some_batches_stay_as_they_are():
    torch.manual_seed(0)
    mixing, images = Mixing(mixup=1.0, cutmix=1.0, prob=0.25), torch.zeros(2, 3, 4, 4)
    mixed = [mixing(images)[0] is not images for _ in range(2000)]
    assert np.mean(mixed) == pytest.approx(0.25, abs=0.03)
    assert Mixing()(images)[2] == 1


@pytest.mark.parametrize('options', [dict(mixup=-1), dict(cutmix=-0.1), dict(mixup=1, prob=1.5)])
def test_mixing_that_cannot_be_is_refused(options):
    with pytest.raises(InputError, match='must not be negative'):
        Mixing(**options)
