import pytest
import torch
from mmengine.model import BaseModule, BaseTTAModel
from mmengine.runner import load_checkpoint
from torch import nn

from mmhybrid.checkpoints import loading, roads

roads.install()


class Net(BaseModule):
    """A backbone with a norm, and a head."""

    def __init__(self, width=4, classes=2, backbone_init=None):
        super().__init__()
        self.backbone = Part(width, backbone_init)
        self.head = nn.Linear(width, classes)


class Part(BaseModule):
    """A convolution and a norm."""

    def __init__(self, width=4, init_cfg=None):
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, width, 1)
        self.norm = nn.BatchNorm2d(width)


class Renamed(Part):
    """Had another name for its convolution."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for end in ('weight', 'bias'):
            state_dict[f'{prefix}conv.{end}'] = state_dict.pop(f'{prefix}old.{end}')
        super()._load_from_state_dict(state_dict, prefix, *args)


def saved(tmp_path, content):
    torch.save(content, tmp_path / 'weights.pth')
    return str(tmp_path / 'weights.pth')


def load(model, content, tmp_path, **options):
    load_checkpoint(model, saved(tmp_path, content), map_location='cpu', **options)
    return [made for part, made in loading.loadings(model) if not part][-1]


def test_all_is_loaded(tmp_path, told, capsys):
    made = load(Net(), Net().state_dict(), tmp_path)
    assert str(made) == 'Net: 8 of 8 tensors were loaded.'
    assert told == ['Weights of Net: 8 of 8 tensors were loaded.']
    assert 'do not match' not in capsys.readouterr().out


def test_lists_are_short(tmp_path, told, capsys):
    wide = Net(classes=3)
    wide.extra = nn.Sequential(*(nn.Linear(1, 1) for _ in range(2)))
    made = load(Net(), {k: v for k, v in wide.state_dict().items() if 'norm' not in k}, tmp_path)
    sentence = (
        'Net: 2 of 8 tensors were loaded; not among the weights: backbone.norm.weight, backbone.norm.bias, '
        'backbone.norm.running_mean and 1 more; of another shape: head.weight ((3, 4) there, (2, 4) here), '
        'head.bias ((3,) there, (2,) here); not in the model: extra.0.weight, extra.0.bias, extra.1.weight and 1 more.'
    )
    assert str(made) == sentence
    assert told == [f'Weights of {sentence}']
    assert 'do not match' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('rename', 'words'),
    [
        (lambda n: f'model.net.{n}', "8 would fit without their prefix 'model.net.'"),
        (lambda n: f'student.{n}', "8 would fit without their prefix 'student.'"),
        (lambda n: n.removeprefix('backbone.'), "6 would fit the model's backbone, whose weights they seem to be"),
        (lambda n: f'x.{n}'[::-1], None),
    ],
)
def test_a_prefix_is_found(tmp_path, rename, words):
    made = load(Net(), {rename(name): value for name, value in Net().state_dict().items()}, tmp_path)
    assert words in made.hint if words else made.hint == ''


def test_a_detectors_file_in_its_backbone(tmp_path):
    made = load(Part(), {f'module.{n}': v for n, v in Net().state_dict().items()}, tmp_path)
    assert not made.missing
    assert str(made) == (
        "Part: 6 of 6 tensors were loaded; found under 'backbone.'; left out, as no part of a backbone: head.weight "
        'and 1 more.'
    )


def test_what_modules_rename_is_loaded(tmp_path):
    model, source = Renamed(), Part()
    stored = {name.replace('conv', 'old'): value for name, value in source.state_dict().items()}
    made = load(model, stored, tmp_path)
    assert len(made.loaded) == 6
    assert not made.missing
    load(Renamed(), stored, tmp_path, strict=True)
    assert torch.equal(model.conv.weight, source.conv.weight)


def test_weights_equal_to_those_before_are_loaded_too(tmp_path):
    model = Net()
    made = load(model, model.state_dict(), tmp_path)
    assert len(made.loaded) == 8


def test_parts_of_a_model(tmp_path):
    path = saved(tmp_path, {f'backbone.{name}': value for name, value in Part().state_dict().items()})
    model = Net(backbone_init=[dict(type='Pretrained', checkpoint=path, prefix='backbone')])
    model.init_weights()
    names = {f'backbone.{end}' for end in ('conv.weight', 'conv.bias', 'norm.weight', 'norm.bias')}
    assert loading.loaded_names(model) == names | {'backbone.norm.running_mean', 'backbone.norm.running_var'}


class Augmented(BaseTTAModel):
    """A model within another one, whose names MMEngine's are not."""

    def __init__(self):
        nn.Module.__init__(self)
        self.module = Net()

    def merge_preds(self, data_samples_list):
        return data_samples_list


def test_a_model_within_another(tmp_path, told):
    model = Augmented()
    load_checkpoint(model, saved(tmp_path, Net().state_dict()), map_location='cpu', strict=True)
    assert told == ['Weights of Net: 8 of 8 tensors were loaded.']
    assert len(loading.loaded_names(model)) == 8


def test_strictly(tmp_path):
    with pytest.raises(RuntimeError, match=r'^Net: 6 of 8 .*not among the weights: head.weight, head.bias'):
        load(Net(), Net().backbone.state_dict(prefix='backbone.'), tmp_path, strict=True)
    load(Net(), Net().state_dict(), tmp_path, strict=True)
