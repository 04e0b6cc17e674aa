import json

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from torch import nn

import mmhybrid
from mmhybrid import cli
from mmhybrid.backbones import TiedResNet
from mmhybrid.checkpoints import cards, publishing
from mmhybrid.checkpoints.backbone_files import read_backbone
from mmhybrid.checkpoints.tensor_files import tensors_sha256

from ..tools.conftest import DEMO
from .loading import SMALL

# As on the command line.
NARROW = ('base_channels=16', 'base_width=8', 'num_stages=1', 'strides=(1,)', 'dilations=(1,)')
OPTIONS = dict(base_channels=16, base_width=8, num_stages=1, strides=[1], dilations=[1])


class Classifier(nn.Module):
    """What tools/pretrain.py saves, by name."""

    def __init__(self):
        super().__init__()
        self.backbone = TiedResNet(**SMALL)
        self.head = nn.Sequential()
        self.head.fc = nn.Linear(64, 10)


@pytest.fixture
def classifier(tmp_path):
    """A classifier's checkpoint, as of pre-training on CIFAR-10."""
    torch.manual_seed(0)
    model = Classifier()
    note = dict(
        version=1, variant='tiedresnet50', type='TiedResNet', options=dict(OPTIONS, out_indices=(0,)), stem='backbone',
        left_out=[], data='cifar10', recipe='cifar10', epochs=2, max_epochs=3, ema=False, image_size=32,
        mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7],
    )  # fmt: skip
    save = {'state_dict': model.state_dict(), 'meta': {'epoch': 2, cards.PRETRAINING: note}}

    def saved(measured=None, **changes):
        digest = tensors_sha256(measured or {**save, **changes}['state_dict'])
        accuracy = {'1': {'top1': 30.0}, '2': {'top1': 41.25, 'top5': 90.0, 'weights': digest}}
        (tmp_path / 'accuracy.json').write_text(json.dumps(accuracy))
        torch.save({**save, **changes}, tmp_path / 'epoch_2.pth')
        return tmp_path / 'epoch_2.pth'

    saved.model, saved.note = model, note
    return saved


def publish(*words):
    return cli.main(['publish', *map(str, words)])


def only(folder, suffix='.safetensors'):
    (path,) = folder.glob(f'*{suffix}')
    return path, json.loads(cards.path_of(path).read_text())


def same(state, backbone):
    expected = backbone.state_dict()
    return set(state) == set(expected) and all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_a_classifier(classifier, tmp_path, capsys, suffix):
    assert publish(classifier(), '--to', tmp_path / 'out', '--format', suffix[1:], '--licence', 'CC0') == 0
    path, card = only(tmp_path / 'out', suffix)
    assert path.name == f'tiedresnet50_cifar10-{card["sha256"][:8]}{suffix}'
    known = dict(
        variant='tiedresnet50', data='cifar10', recipe='cifar10', epochs=2, top1=41.25, licence='CC0', commit=None,
        image_size=32, mean=[125.3, 123.0, 113.9], std=[63.0, 62.1, 66.7],
    )  # fmt: skip
    assert {key: card[key] for key in known} == known
    assert card['options'] == OPTIONS
    assert card['parameters'] == sum(p.numel() for p in classifier.model.backbone.parameters())
    assert same(read_backbone(path).state, classifier.model.backbone)
    out = capsys.readouterr().out
    assert 'left out, as no part of the backbone: head.fc.weight, head.fc.bias' in out
    assert 'not known, and null in the card: commit (--commit' in out
    loaded = mmhybrid.create_backbone('tiedresnet50', checkpoint=path, **SMALL)
    assert same(loaded.state_dict(), classifier.model.backbone)


def test_the_accuracy_of_other_weights_is_none(classifier, tmp_path):
    others = classifier.model.state_dict() | {'head.fc.bias': torch.ones(10)}
    for i, note in enumerate((classifier.note | dict(epochs=2.5, iterations=159), classifier.note)):
        path = classifier(measured=others, meta={'epoch': 2, cards.PRETRAINING: note})
        if i:
            (tmp_path / 'accuracy.json').write_text(json.dumps({'2': {'top1': 41.25}}))  # as older versions wrote it
        assert publish(path, '--to', tmp_path / str(i)) == 0
        card = only(tmp_path / str(i))[1]
        assert (card['top1'], card['epochs'], card['iterations']) == (None, note['epochs'], note.get('iterations'))


def test_licences_go_with_what_was_learned_further(classifier, tmp_path):
    inner = dict(file='b.pth', licence='research only')
    begun = [dict(file='a.pth', started_from=[inner]), dict(file='c.pth', licence='MIT'), inner]
    for began, given, licence in (
        (begun, [], 'research only and MIT'),
        (begun, ['--licence', 'CC0'], 'CC0'),
        ([], [], None),
        ('nonsense', [], None),
    ):
        note = classifier.note | dict(started_from=began, recipe_options={'model.mixing': None}, commit='5f0c')
        folder = tmp_path / f'{licence}{len(began)}'
        assert publish(classifier(meta={cards.PRETRAINING: note}), '--to', folder, *given) == 0
        path, card = only(folder)
        known = dict(licence=licence, started_from=began, recipe_options={'model.mixing': None}, commit='5f0c')
        assert {key: card[key] for key in known} == known
        assert publish(path, '--to', folder / 'again') == 0
        assert only(folder / 'again')[0].read_bytes() == path.read_bytes()


def test_again_it_is_the_same_file(classifier, tmp_path):
    for _ in range(2):
        assert publish(classifier(), '--to', tmp_path / 'out') == 0
    path, _ = only(tmp_path / 'out')
    assert publish(path, '--to', tmp_path / 'again') == 0
    again, card = only(tmp_path / 'again')
    assert again.read_bytes() == path.read_bytes()
    assert card['source'] == 'epoch_2.pth'


def test_a_detector_whose_config_says_what_it_is(tmp_path, capsys):
    config = Config.fromfile(DEMO)
    config.model.backbone.update(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    config.model.neck.update(in_channels=[64])
    detector = MODELS.build(config.model)
    content = dict(state_dict=detector.state_dict(), meta=dict(epoch=12, cfg=config.pretty_text))
    torch.save(content, tmp_path / 'epoch_12.pth')
    assert publish(tmp_path / 'epoch_12.pth', '--to', tmp_path / 'demo.safetensors') == 0
    path, card = only(tmp_path)
    assert path.name.startswith('demo-')
    assert (card['variant'], card['options'], card['epochs']) == ('tiedresnet50', OPTIONS, 12)
    assert (card['data'], card['top1'], card['licence']) == (None, None, None)
    assert same(read_backbone(path).state, detector.backbone)
    out = capsys.readouterr().out
    assert 'roi_head' in out or 'and ' in out
    assert 'data, recipe, top1, commit, licence' in out


@pytest.mark.parametrize(
    'text', ['model = open("x", "w")', 'model = dict(backbone=f())', 'model = (', 'x' * 10, None, 5]
)
def test_a_config_is_looked_at_and_not_run(text):
    assert publishing._configured(text) == {}


@pytest.mark.parametrize(
    ('name', 'config'),
    [
        ('tiedsenet50', "dict(depth=50, plugins=[dict(cfg=dict(type='TiedSE', blocks=8), position='after_conv3')])"),
        ('tiedresnet50_s', 'dict(base_width=18, depth=50, frozen_stages=1, norm_eval=True, out_indices=(0, 1, 2, 3))'),
        ('tiedresnet101', "dict(depth=101, style='pytorch', norm_cfg=dict(type='SyncBN', requires_grad=True))"),
    ],
)
def test_the_variant_of_a_config(name, config):
    found = publishing._configured("a = 1\nmodel = dict(backbone=dict(type='mmdet.TiedResNet', **{}))") or {}
    assert found.get('variant') == 'tiedresnet50'
    text = f"model = dict(type='MaskRCNN', backbone={config[:-1]}, type='TiedResNet'))"
    assert publishing._began(text) == {}
    assert publishing._configured(text) == dict(variant=name, type='TiedResNet', options={})


def test_a_detector_tells_the_names_of_what_it_began_with():
    init = "init_cfg=dict(type='Pretrained', checkpoint='/home/me/a-12345678.safetensors')"
    text = f'resume = False\nload_from = None\nmodel = dict(backbone=dict(depth=50, {init}))'
    first, loaded = dict(file='a-12345678.safetensors'), text.replace('= None', "= 'x/b.pth'")
    assert publishing._began(text) == dict(started_from=[first])
    assert publishing._began(loaded) == dict(started_from=[first, dict(file='b.pth')])
    assert publishing._began(loaded.replace('= False', '= True')) == dict(started_from=[first])
    assert publishing._began('model = (') == publishing._began(None) == {}


def test_averaged_weights(classifier, tmp_path, capsys):
    model, hook = classifier.model, EMAHook()
    hook.ema_model = ExponentialMovingAverage(model)
    raw = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    for value in hook.ema_model.module.state_dict().values():
        value.add_(1)
    averaged = hook.ema_model.module.backbone.state_dict()
    checkpoint = {'state_dict': model.state_dict()}
    hook.before_save_checkpoint(None, checkpoint)
    path = classifier(**checkpoint)
    for options, expected, ema, top1 in (
        ([], averaged, True, 41.25),
        (['--ema'], averaged, True, 41.25),
        (['--no-ema'], raw, False, None),
    ):
        folder = tmp_path / ('out' + ''.join(options))
        assert publish(path, '--to', folder, *options) == 0
        made, card = only(folder)
        state = read_backbone(made).state
        assert all(torch.equal(state[name], expected[name]) for name in expected)
        assert (card['ema'], card['top1']) == (ema, top1)
        assert f'weights: {"averaged" if ema else "not averaged"}' in capsys.readouterr().out
    assert publish(classifier(), '--no-ema') == 2
    assert 'has one set of weights' in capsys.readouterr().err


def test_a_stem_for_small_pictures_is_left_out(classifier, tmp_path, capsys):
    state = classifier.model.state_dict() | {'backbone.conv1.weight': torch.zeros(16, 3, 3, 3)}
    meta = {cards.PRETRAINING: classifier.note | dict(stem='32x32', left_out=['conv1.weight'])}
    assert publish(classifier(state_dict=state, meta=meta), '--to', tmp_path / 'out') == 0
    path, card = only(tmp_path / 'out')
    assert card['left_out'] == ['conv1.weight', 'bn1.weight', 'bn1.bias', 'bn1.running_mean', 'bn1.running_var']
    assert not any(name.startswith(('conv1', 'bn1')) for name in read_backbone(path).state)
    assert 'a detector learns it anew' in capsys.readouterr().out
    mmhybrid.create_backbone('tiedresnet50', checkpoint=path, **SMALL)


def test_half_the_size(classifier, tmp_path):
    assert publish(classifier(), '--to', tmp_path / 'whole') == 0
    assert publish(classifier(), '--to', tmp_path / 'half', '--half') == 0
    path, card = only(tmp_path / 'half')
    assert card['rounded_to'] == 'float16'
    state, source = read_backbone(path).state, classifier.model.backbone.state_dict()
    tables = 30_000  # of so small a network's names, in each of the files
    assert path.stat().st_size < 0.6 * (only(tmp_path / 'whole')[0].stat().st_size - tables) + tables
    assert all(torch.equal(state[n], v if v.dim() < 2 else v.half()) for n, v in source.items())
    loaded = mmhybrid.create_backbone('tiedresnet50', checkpoint=path, **SMALL)
    assert loaded.conv1.weight.dtype == torch.float32


def test_weights_that_are_not_the_variants_are_refused(classifier, tmp_path, capsys):
    assert publish(classifier(), '--backbone', 'tiedresnet101', '--to', tmp_path / 'out') == 2
    err = capsys.readouterr().err
    assert 'says that it is of tiedresnet50, not tiedresnet101' in err
    assert 'conv1.weight has the shape (16, 3, 7, 7) there and (64, 3, 7, 7) here' in err
    assert (
        publish(classifier(meta={}), '--backbone', 'tiedresnet50', '--options', *NARROW, '--to', tmp_path / 'out') == 0
    )
    _, card = only(tmp_path / 'out')
    assert card['options'] == OPTIONS
    assert (card['data'], card['top1']) == (None, None)


def test_what_fits_is_found(classifier, monkeypatch, tmp_path, capsys):
    """Of all names in tests that are slow; here of three, as narrow as the classifier."""
    monkeypatch.setattr(publishing.known, 'names', lambda: ['tiedresnet50_s', 'tiedresnet50', 'hcgnet_a1'])
    made = publishing.made
    narrow = lambda name, options: made(name, {**(OPTIONS if 'tied' in name else {}), **options})  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(publishing, 'made', lambda name, options: narrow(name, {**options, 'out_indices': (0,)}))
        assert publish(classifier(meta={}), '--to', tmp_path / 'out') == 2
        assert 'fit tiedresnet50_s, tiedresnet50: say which it is with --backbone' in capsys.readouterr().err
    assert publish(classifier(meta={}), '--to', tmp_path / 'out') == 2
    err = capsys.readouterr().err
    assert 'are of none of the 3 known backbones: name it with --backbone' in err
    assert 'base_channels=16' in err


@pytest.mark.slow
def test_of_all_variants_the_right_one_is_found(tmp_path, capsys):
    torch.save(mmhybrid.create_backbone('hcgnet_a1').state_dict(), tmp_path / 'bare.pth')
    assert publish(tmp_path / 'bare.pth', '--to', tmp_path / 'out') == 0
    assert only(tmp_path / 'out')[1]['variant'] == 'hcgnet_a1'
