"""What a model is shown: the same images for a seed, annotations at its size, gradients down to pixels."""

import json

import numpy as np
import pytest
import torch

from mmhybrid.errors import InputError
from mmhybrid.inspecting import cli, samples, subjects

from .conftest import SCALE, SIDE


def load(*models, words=()):
    args = cli.build_parser().parse_args(['cka', *models[0], '--device', 'cpu', *words])
    return subjects.load(models, [], args), args


@pytest.fixture(scope='module')
def detector(two_stage):
    (found,), _ = load(two_stage)
    return found


def find(subject, annotated=False, **settings):
    args = cli.build_parser().parse_args(['cka', 'x.py'])
    vars(args).update(settings)
    return samples.find(subject, args, annotated)


def test_a_seed_draws_the_same_images_each_time(detector):
    drawn = {seed: [each.image_id for each in find(detector, limit=5, seed=seed)] for seed in range(6)}
    assert drawn[3] == [each.image_id for each in find(detector, limit=5, seed=3)]
    assert len({tuple(ids) for ids in drawn.values()}) > 3
    assert all(ids == sorted(set(ids)) and len(ids) == 5 for ids in drawn.values())
    assert len(find(detector, limit=500, seed=0)) == 12
    # A limit's images are among those of a larger one.
    assert set(drawn[0]) < {each.image_id for each in find(detector, limit=9, seed=0)}


def test_annotations_are_resized_with_the_image(detector, data_root):
    shown = find(detector, annotated=True, limit=3, seed=0)
    batch = detector.prepare(shown, annotated=True)
    truth = json.loads((data_root / 'annotations' / 'instances_val.json').read_text())
    for sample, pixels, given in zip(shown, batch.pixels, batch.data_samples, strict=True):
        assert pixels.shape == (3, SCALE, SCALE)
        boxes = [each['bbox'] for each in truth['annotations'] if each['image_id'] == sample.image_id]
        x, y, w, h = np.array(boxes).T
        expected = np.stack([x, y, x + w, y + h], axis=1) * SCALE / SIDE
        found = given.gt_instances.bboxes
        found = getattr(found, 'tensor', found).numpy()
        np.testing.assert_allclose(found, expected, atol=0.01)
        masks = given.gt_instances.masks.to_ndarray()
        assert masks.shape[1:] == (SCALE, SCALE)
        for mask, box in zip(masks, expected, strict=True):
            rows, columns = np.nonzero(mask)
            within = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(within - box).max() <= 2


def test_without_annotations_none_are_loaded(detector):
    (given,) = detector.prepare(find(detector, limit=1, seed=0)).data_samples
    assert not len(given.gt_instances)


def test_pixels_are_those_of_the_file(detector):
    (sample,) = find(detector, limit=1, seed=0)
    (pixels,) = detector.prepare([sample]).pixels
    from mmcv import imread

    small = torch.nn.functional.avg_pool2d(pixels, SCALE // SIDE)
    assert (small - torch.from_numpy(imread(sample.path)).permute(2, 0, 1)).abs().mean() < 3  # BGR, 0 to 255


def test_gradients_reach_pixels_through_normalisation(detector):
    batch = detector.prepare(find(detector, limit=2, seed=0))
    pixels = [each.clone().requires_grad_() for each in batch.pixels]
    inputs, given = detector.normalised(batch, pixels)
    assert inputs.shape == (2, 3, SCALE, SCALE)
    assert given[0].batch_input_shape == (SCALE, SCALE)
    inputs.sum().backward()
    # Pixels are BGR, deviations RGB.
    for each in pixels:
        expected = 1 / torch.tensor([57.375, 57.12, 58.395])
        torch.testing.assert_close(each.grad, expected[:, None, None].expand_as(each))
    plain, _ = detector.normalised(batch)
    torch.testing.assert_close(plain, inputs.detach())


def test_levels_and_modules_have_their_names(detector, one_stage):
    inputs, _ = detector.normalised(detector.prepare(find(detector, limit=1, seed=0)))
    levels = detector.levels(inputs)
    assert list(levels) == ['backbone.0', 'backbone.1', 'backbone.2', 'neck.0', 'neck.1', 'neck.2']
    assert [SCALE // level.shape[-1] for level in levels.values()] == [8, 16, 32] * 2
    torch.testing.assert_close(levels['neck.2'], detector.model.extract_feat(inputs)[2])
    assert detector.module('backbone.layer1.0') is detector.model.backbone.layer1[0]
    assert 'backbone.layer4.1.conv2' in detector.modules(torch.nn.Conv2d)
    with pytest.raises(InputError, match=r"no module 'backbone\.layer9'"):
        detector.module('backbone.layer9')
    assert detector.classes[:2] == ('disk', 'ring')
    assert subjects.has_masks(detector.model)
    (retinanet,), _ = load(one_stage)
    assert not subjects.has_masks(retinanet.model)
    given = retinanet.prepare(find(retinanet, annotated=True, limit=1, seed=0), annotated=True).data_samples[0]
    assert len(given.gt_instances.bboxes) > 0
    assert 'masks' not in given.gt_instances


def test_random_values_are_the_seeds(two_stage):
    def weights(seed):
        (found,), _ = load([two_stage.config], words=['--seed', str(seed)])
        return found.model.state_dict()['backbone.conv1.weight']

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_backbone_is_shown_pictures(data_root):
    (backbone,), _ = load(['tiedresnet50'])
    batch = backbone.prepare(find(backbone, images=[str(data_root / 'train')])[:1])
    inputs, _ = backbone.normalised(batch)
    assert batch.pixels[0].shape == (3, subjects.SIDE, subjects.SIDE)
    assert inputs.shape == (1, 3, subjects.SIDE, subjects.SIDE)
    assert backbone.described == 'TiedResNet, its initial values (no checkpoint was given)'
    assert list(backbone.levels(inputs)) == [f'backbone.{i}' for i in range(4)]
