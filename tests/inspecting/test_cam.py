"""Class activation maps: by hand, on detectors whose scores rest on known places, and the command as a whole."""

import copy
import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmhybrid.errors import InputError
from mmhybrid.inspecting.analyses import activation_maps as maps
from mmhybrid.inspecting.analyses.score_gradients import Attached, gradients_of, kept_levels, only_inputs_learn, predict
from mmhybrid.inspecting.cli import main
from mmhybrid.inspecting.subjects import BACKBONE, CLASSIFIER, DETECTOR, Subject

from ..exporting.models import CONFIGS, build

SHAPE, PADDED = (120, 150), (128, 160)


def sample():
    return DetDataSample(
        metainfo=dict(img_shape=SHAPE, ori_shape=SHAPE, pad_shape=PADDED, scale_factor=(1.0, 1.0), img_id=1)
    )


def detector(name):
    """One whose scores are not 1 to float32."""
    model = build(name)
    if name == 'retinanet':
        model.bbox_head.retina_cls.weight.data /= 20
        model.bbox_head.test_cfg.score_thr = 0.005
    return model


def state(model):
    """All that may change: values, gradients, hooks, flags and parts."""
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [(name, each.requires_grad, each.grad is None) for name, each in model.named_parameters()],
        [(name, type(each).__name__, len(each._forward_hooks), each.training) for name, each in model.named_modules()],
        [getattr(each, 'with_cp', None) for each in model.modules()],
    )


def same(one, other):
    assert one[1:] == other[1:]
    assert all(torch.equal(value, other[0][name]) for name, value in one[0].items())


# -- gradients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('whole', [True, False])
@pytest.mark.parametrize('name', CONFIGS)
def test_a_detection_has_gradients_on_a_level_and_the_model_stays(name, whole):
    model = detector(name)
    model.backbone.layer1[0].with_cp = True  # MMDetection's checkpointed blocks take no autograd.grad
    subject = Subject(name, name, None, DETECTOR, model, ('a', 'b', 'c'), 'cpu')
    next(model.parameters()).requires_grad_(False)
    before = state(model)
    inputs = torch.randn(1, 3, *PADDED)
    with torch.no_grad():
        plain = copy.deepcopy(model).predict(inputs, [sample()], rescale=False)[0].pred_instances
    seen = predict(subject, inputs, [sample()], whole, True)
    same(before, state(model))
    assert list(seen.levels) == [f'backbone.{i}' for i in range(4)] + [f'neck.{i}' for i in range(5)]
    assert torch.equal(seen.scores, plain.scores.sort(descending=True)[0])
    assert torch.equal(seen.boxes.sort(0)[0], plain.bboxes.sort(0)[0])
    assert 0.01 < seen.scores[0] < 0.999
    gradients = gradients_of(seen.targets[0], list(seen.levels.values()))
    assert all(each.shape == level.shape for each, level in zip(gradients, seen.levels.values(), strict=True))
    assert all(each.isfinite().all() for each in gradients)
    reached = {level: bool(each.any()) for level, each in zip(seen.levels, gradients, strict=True)}
    assert any(reached[f'neck.{i}'] for i in range(5))
    assert reached['backbone.3']  # feeds every level of an FPN
    for level, gradient in zip(seen.levels.values(), gradients, strict=True):
        for make in (maps.grad_cam, maps.hires_cam):
            made = make(level[0].detach(), gradient[0])
            assert made.isfinite().all()
            assert made.min() >= 0
    same(before, state(model))
    assert inputs.grad is None


def test_gradients_are_those_of_finite_differences():
    """Through NMS and the head's detach: the score of the same detection with a level changed a little."""
    model = detector('retinanet')
    subject = Subject('r', 'r', None, DETECTOR, model, ('a', 'b', 'c'), 'cpu')
    inputs = torch.randn(1, 3, 64, 64)
    ds = DetDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0)))
    seen = predict(subject, inputs, [ds], False, True)
    names = [name for name in seen.levels if name.startswith('neck.')]
    gradients = gradients_of(seen.targets[0], [seen.levels[name] for name in names])
    k = max(range(len(names)), key=lambda j: float(gradients[j].abs().max()))
    at = np.unravel_index(int(gradients[k].abs().argmax()), gradients[k].shape)
    step = 0.02  # mmcv's NMS takes float32 alone

    def score(change):
        def shift(module, args, outputs):
            outputs = [each.clone() for each in outputs]
            outputs[k][at] += change
            return tuple(outputs)

        hook = model.neck.register_forward_hook(shift)
        try:
            with torch.no_grad():
                found = model.predict(inputs, [ds.clone()], rescale=False)[0].pred_instances
        finally:
            hook.remove()
        near = (found.bboxes - seen.boxes[0]).abs().sum(1) + 1e9 * (found.labels != seen.labels[0])
        return float(found.scores[near.argmin()])

    assert (score(step) - score(-step)) / (2 * step) == pytest.approx(float(gradients[k][at]), rel=0.01)


class OnePlace(nn.Module):
    """A detector whose first score is sigmoid(A[1, 2, 3]) and second sigmoid(A[0, 0, 0]) of a stride-8 map."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.conv = nn.Conv2d(3, 2, 8, stride=8)
        self.backbone.forward = lambda x: (self.backbone.conv(x),)
        self.with_neck = False

    def predict(self, inputs, data_samples, rescale):
        (features,) = self.backbone(inputs)
        places = ((0, 0, 0), (1, 2, 3))
        data_samples[0].pred_instances = InstanceData(
            scores=torch.stack([features[0][place] for place in places]).sigmoid(),
            labels=torch.tensor([0, 1]),
            bboxes=torch.tensor([[0.0, 0.0, 8.0, 8.0], [24.0, 16.0, 32.0, 24.0]]),
        )
        return data_samples


def test_a_map_is_where_the_score_comes_from():
    model = OnePlace()
    nn.init.constant_(model.backbone.conv.weight, 0.001)
    model.backbone.conv.bias.data = torch.tensor([1.0, 2.0])
    subject = Subject('one', 'one', None, DETECTOR, model, ('a', 'b'), 'cpu')
    inputs = torch.rand(1, 3, 40, 48)
    seen = predict(subject, inputs, [sample()], True, True)
    assert seen.labels.tolist() == [1, 0]  # best first
    for number, (place, box) in enumerate([((2, 3), [24, 16, 32, 24]), ((0, 0), [0, 0, 8, 8])]):
        assert seen.boxes[number].tolist() == box
        (gradient,) = gradients_of(seen.targets[number], [seen.levels['backbone.0']])
        score = float(seen.scores[number])
        channel = int(seen.labels[number])
        expected = torch.zeros(2, 5, 6)
        expected[(channel, *place)] = score * (1 - score)
        torch.testing.assert_close(gradient[0], expected)
        level = seen.levels['backbone.0'][0].detach()
        made = maps.hires_cam(level, gradient[0])
        assert made.nonzero().tolist() == [list(place)]
        # Grad-CAM takes the whole channel: its mean gradient is a 30th.
        torch.testing.assert_close(maps.grad_cam(level, gradient[0]), level[channel].relu() * score * (1 - score) / 30)


def test_a_classifiers_target_is_the_logit_of_its_class():
    from mmhybrid.pretraining.classifier import ImageClassifier

    model = ImageClassifier(dict(type='ResNet', depth=18, base_channels=8, out_indices=(2, 3)), dict(num_classes=4))
    subject = Subject('c', 'c', None, CLASSIFIER, model, (), 'cpu')
    inputs = torch.randn(1, 3, 64, 64)
    seen = predict(subject, inputs, [], True, True)
    logits = model(inputs, mode='tensor')[0]
    torch.testing.assert_close(seen.targets[0], logits.max())
    torch.testing.assert_close(seen.scores[0], logits.softmax(0).max())
    (gradient,) = gradients_of(seen.targets[0], [seen.levels['backbone.1']])
    weights = model.head.fc.weight[int(logits.argmax())]
    torch.testing.assert_close(gradient[0], (weights / 4)[:, None, None].expand_as(gradient[0]))


def test_detaching_is_undone_only_within_and_arrays_still_come():
    x = torch.ones(3, requires_grad=True)
    with Attached():
        assert x.detach().requires_grad
        assert x.detach().cpu().numpy().tolist() == [1, 1, 1]
        assert np.asarray(x.detach()).tolist() == [1, 1, 1]
        assert copy.deepcopy(x * 2).requires_grad
        (gradient,) = torch.autograd.grad((x.detach() * 2).sum(), x)
    assert gradient.tolist() == [2, 2, 2]
    assert not x.detach().requires_grad


def test_all_is_as_before_after_an_error():
    model = build('mask_rcnn')
    subject = Subject('m', 'm', None, DETECTOR, model, (), 'cpu')
    before = state(model)
    with pytest.raises(RuntimeError, match='stop'), only_inputs_learn(model), kept_levels(subject):
        assert not any(each.requires_grad for each in model.parameters())
        assert not model.roi_head.with_mask
        raise RuntimeError('stop')
    assert model.roi_head.with_mask
    same(before, state(model))


def test_scores_without_gradients_are_told():
    subject = Subject('m', 'm', None, DETECTOR, build('faster_rcnn', nms=dict(type='soft_nms')), (), 'cpu')
    seen = predict(subject, torch.randn(1, 3, *PADDED), [sample()], False, True)
    with pytest.raises(InputError, match='eigen-cam'):
        gradients_of(seen.targets[0], list(seen.levels.values()))


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('stages', 'method'), [('one_stage', 'grad-cam'), ('two_stage', 'grad-cam'), ('two_stage', 'eigen-cam')]
)
def test_the_command(stages, method, request, tmp_path, capsys):
    made = request.getfixturevalue(stages)
    given = [
        'cam', made.config, made.checkpoint, '--limit', '2', '--detections', '2', '--method', method, '--score-thr',
        '0.05', '--levels', 'backbone.1', 'neck.0', 'neck.2', '--out-dir', str(tmp_path), '--device', 'cpu',
        '--format', 'png',
    ]  # fmt: skip
    main(given)
    assert capsys.readouterr().out
    assert (tmp_path / 'cam.png').read_bytes().startswith(b'\x89PNG')
    text = (tmp_path / 'cam.json').read_text(encoding='utf-8')
    numbers = json.loads(text)['numbers']
    (images,) = numbers['models'].values()
    assert len(images) == 2
    detections = [each for image in images for each in image['detections']]
    assert 0 < len(detections) <= 4
    for one in detections:
        assert list(one['in_box']) == ['backbone.1', 'neck.0', 'neck.2']
        assert all(each is None or 0 <= each <= 1 for each in one['in_box'].values())
        if method == 'grad-cam':
            assert one['part']['backbone.1'] in (0, 1)
            assert one['part']['neck.0'] + one['part']['neck.2'] in (0, pytest.approx(1))
            assert set(one['largest_part'].values()) <= set(one['part'])
            assert np.array(one['maps']['neck.2']['relative']).shape == (6, 6)


def test_the_command_finds_nothing(two_stage, tmp_path, capsys):
    main(['cam', *two_stage, '--limit', '2', '--score-thr', '1', '--out-dir', str(tmp_path), '--device', 'cpu'])
    shown = capsys.readouterr()
    assert 'no detection in 2 images has a score of 1 or more; the highest is 0.' in shown.out
    assert '--score-thr takes another' in shown.err
    assert not (tmp_path / 'cam.png').exists()


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['--levels', 'neck.7'], 'has no such level; it has backbone.0, backbone.1, backbone.2, neck.0'),
        (['--versus', 'dsnet50'], 'is a backbone, which has no score'),
    ],
)
def test_mistakes_are_told(words, told, two_stage, tmp_path):
    with pytest.raises(InputError, match=told):
        main(['cam', *two_stage, '--limit', '1', '--out-dir', str(tmp_path), '--device', 'cpu', *words])


def test_eigen_cam_of_a_backbone_alone(data_root):
    from mmhybrid.inspecting.analyses.detection_maps import look
    from mmhybrid.inspecting.samples import Sample

    class Args:
        method, levels, detections, score_thr = 'eigen-cam', ['backbone.0'], 1, 0.3

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 4, 1)

        def forward(self, x):
            return (self.conv(x),)

    subject = Subject('b', 'b', None, BACKBONE, Net(), (), 'cpu')
    path = next((data_root / 'val').glob('*.jpg'))
    seen = look(subject, Sample(path.name, dict(img_path=str(path), img_id=1)), Args)
    assert seen.maps['backbone.0'].shape == (56, 56)
    assert 0 < seen.variance['backbone.0'] <= 1
    assert seen.targets == []
