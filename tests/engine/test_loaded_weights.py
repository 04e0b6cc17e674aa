import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from mmhybrid.errors import InputError

from . import toy_run


@MODELS.register_module()
class InParts(toy_run.Dropped):
    """A backbone and a head, in a toy run."""

    def __init__(self, classes=1, width=3, init_cfg=None, **kwargs):
        super().__init__()
        del self.layer
        self.backbone = toy_run.Dropped(width=width)
        self.backbone.init_cfg = init_cfg
        self.head = nn.Linear(width, classes)

    def forward(self, *inputs, mode='tensor'):
        out = self.head(self.backbone.layer(torch.stack(inputs)))
        return {'loss': out.square().mean()} if mode == 'loss' else list(out)


def runner(tmp_path, allow_missing=False, weights=None, **changes):
    hook = dict(type='LoadedWeightsHook', allow_missing=allow_missing)
    loader = toy_run.config('.')['val_dataloader']
    cfg = toy_run.config(tmp_path / 'run', val=False, custom_hooks=[hook], **changes)
    cfg.merge_from_dict(dict(test_dataloader=loader, test_cfg={}, test_evaluator=dict(type='Mean')))
    if weights is not None:
        torch.save(weights, tmp_path / 'weights.pth')
        cfg.load_from = str(tmp_path / 'weights.pth')
    return Runner.from_cfg(cfg)


def weights(**options):
    return InParts(**options).state_dict()


def without(state_dict, beginning):
    return {name: value for name, value in state_dict.items() if not name.startswith(beginning)}


def test_all_weights_are_there(tmp_path):
    assert 'mean' in runner(tmp_path, model=dict(type='InParts'), weights=weights()).test()


@pytest.mark.parametrize('what', ['train', 'test'])
@pytest.mark.parametrize(
    ('stored', 'words'),
    [
        (weights(width=5), r'another shape, as backbone.layer.1.weight \(\(5, 3\) there, \(3, 3\) here\)'),
        (without(weights(), 'head'), '2 are not among the weights, as head.weight'),
        ({f'model.{k}': v for k, v in weights().items()}, r"prefix 'model\.'"),
        ({k[9:]: v for k, v in weights().items()}, "fit the model's backbone"),
        ({'conv.weight': torch.zeros(3)}, '4 are not among the weights, as backbone.layer.1.weight'),
    ],
)
def test_another_models_weights(tmp_path, what, stored, words):
    made = runner(tmp_path, model=dict(type='InParts'), weights=stored)
    with pytest.raises(InputError, match=words) as error:
        getattr(made, what)()
    assert f'to {what} random numbers' in str(error.value)
    assert '--allow-missing' in str(error.value)


def test_other_classes_begin_anew_in_training_alone(tmp_path, monkeypatch):
    options = dict(model=dict(type='InParts'), weights=weights(classes=4))
    made, told = runner(tmp_path, **options), []
    monkeypatch.setattr(made.logger, 'warning', told.append)
    made.train()
    begun = '2 tensors have another size in the weights, as with other classes, and begin anew: head.bias, head.weight.'
    assert begun in told
    with pytest.raises(InputError, match=r'head\.weight'):
        runner(tmp_path, **options).test()


@pytest.mark.parametrize('allow', [True, ['head.'], ['back', 'head.weight', 'head.bias']])
def test_what_may_be_missing(tmp_path, allow):
    stored = without(weights(), 'head')
    assert 'mean' in runner(tmp_path, allow, model=dict(type='InParts'), weights=stored).test()


def test_only_that_may_be_missing(tmp_path):
    with pytest.raises(InputError, match=r'1 of its 4 .*as head.weight\)'):
        runner(tmp_path, ['head.bias'], model=dict(type='InParts'), weights=without(weights(), 'head')).test()


def test_what_was_learned_is_tested(tmp_path):
    made = runner(tmp_path, model=dict(type='InParts'), weights=weights(classes=4))
    made.train()
    assert 'mean' in made.test()


def test_parts_that_are_added_to_a_pretrained_backbone_begin_anew(tmp_path, monkeypatch):
    torch.save(toy_run.Dropped(width=3).state_dict(), tmp_path / 'backbone.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))
    made, told = runner(tmp_path, model=dict(type='InParts', init_cfg=init_cfg)), []
    made.model.backbone.gate = nn.Linear(3, 1, bias=False)
    made.model.backbone.after_conv1_plugin_names = ['gate']  # as MMDetection's blocks have it
    monkeypatch.setattr(made.logger, 'warning', told.append)
    made.train()
    assert any('1 tensors are not among the weights, as parts that were added' in words for words in told)

    made = runner(tmp_path, model=dict(type='InParts', init_cfg=init_cfg))
    made.model.backbone.register_buffer('statistics', torch.ones(1))  # which nothing learns
    with pytest.raises(InputError, match=r'as backbone\.statistics'):
        made.train()


def test_no_other_parameter_is_a_part_that_was_added(tmp_path):
    torch.save(toy_run.Dropped(width=3).state_dict(), tmp_path / 'backbone.pth')
    made = runner(
        tmp_path,
        model=dict(type='InParts', init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))),
    )
    made.model.backbone.conv3 = nn.Conv2d(3, 3, 1, bias=False)
    with pytest.raises(InputError, match=r'as backbone\.conv3\.weight'):
        made.train()


def test_a_backbones_own_weights(tmp_path):
    torch.save({'layer.1.bias': torch.zeros(3)}, tmp_path / 'backbone.pth')
    model = dict(type='InParts', init_cfg=[dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))])
    with pytest.raises(InputError, match=r'1 of its 4 .*as backbone.layer.1.weight'):
        runner(tmp_path, model=model).train()
    runner(tmp_path, ['backbone.layer.1.w'], model=model).train()
    # What the detector's file brings afterwards is not missing.
    runner(tmp_path, model=model, weights=weights()).train()


def test_nothing_to_load(tmp_path):
    runner(tmp_path, model=dict(type='InParts')).train()
