"""The command `mmhybrid convert`: from a file to one that a backbone takes."""

import json
import subprocess
import sys

import pytest
import torch

import mmhybrid
from mmhybrid import cli
from mmhybrid.backbones.hcgnet import ARCHS
from mmhybrid.checkpoints import hcgnet
from mmhybrid.checkpoints.backbone_files import read_backbone

from .converting import largest_difference, maps, source
from .test_hcgnet import authors_weights, detector_name

save_file = pytest.importorskip('safetensors.torch').save_file

CONFIG = """
model = dict(
    type='MaskRCNN',
    backbone=dict(type='ResNet', depth=50, base_channels=16, frozen_stages=1, norm_eval=True, init_cfg=None,
        plugins=[dict(cfg=dict(type='TiedGCB', blocks=2), position='after_conv3')]))
custom_imports = dict(imports=['mmhybrid.registry'], allow_failed_imports=False)
"""


@pytest.fixture(scope='module')
def resnet18():
    return source('ResNet', torch.float32, depth=18)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        status = cli.main(['convert', *map(str, words)])
        return (status, *capsys.readouterr())

    return run


def test_a_torchvision_file_becomes_a_backbones(run, resnet18, tmp_path):
    head = {'fc.weight': torch.zeros(3, 512), 'fc.bias': torch.zeros(3)}
    torch.save({**resnet18.state_dict(), **head}, 'resnet18-f37072fd.pth')
    words = ('resnet18-f37072fd.pth', '--to', 'sae_resnet18', '--out', 'out', '--data', 'ImageNet-1k')
    status, out, err = run(*words, '--licence', 'BSD-3-Clause', '--licence', 'see the source')
    assert status == 0, err
    assert out.startswith('resnet18-f37072fd.pth (of ResNet-18) for sae_resnet18: 11,352,752 parameters'), out
    assert 'copied              120  conv1.weight, bn1.weight, bn1.bias and 117 more' in out
    assert 'left out              2  fc.weight, fc.bias' in out
    assert "source's to the bit" in out
    assert 'Licence: BSD-3-Clause; see the source.' in out
    [weights] = (tmp_path / 'out').glob('sae_resnet18-from-resnet18-f37072fd-????????.safetensors')
    card = json.loads(weights.with_suffix('.json').read_text())
    assert {key: card[key] for key in ('variant', 'data', 'top1', 'epochs', 'licence')} == dict(
        variant='sae_resnet18', data='ImageNet-1k', top1=None, epochs=None, licence='BSD-3-Clause; see the source'
    )
    assert card['source'].startswith('resnet18-f37072fd.pth (of ResNet-18, sha256 ')
    warm = card['warm_start']
    assert (warm['copied'], warm['deviation'], warm['left_out']) == (120, 0.0, ['fc.weight', 'fc.bias'])
    assert warm['images'].startswith('RGB, mean (123.675')
    backbone = mmhybrid.create_backbone('sae_resnet18', checkpoint=weights)
    assert card['parameters'] == sum(p.numel() for p in backbone.parameters())
    assert largest_difference(maps(backbone.eval()), maps(resnet18)) == 0
    status, out, err = run(*words, '--licence', 'BSD-3-Clause', '--licence', 'see the source')
    assert status == 0, 'the same again is the same file'
    assert len(list((tmp_path / 'out').iterdir())) == 2


def test_a_safetensors_file_and_a_config_and_a_file_name(run, tmp_path):
    theirs = source('ResNet', torch.float32, depth=50, base_channels=16)
    save_file(theirs.state_dict(), 'narrow.safetensors')
    (tmp_path / 'my_config.py').write_text(CONFIG)
    status, out, err = run('narrow.safetensors', '--to', 'my_config.py', '--out', 'mine.pth')
    assert status == 0, err
    assert 'not stated; look where the source comes from' in out
    [weights] = tmp_path.glob('mine-????????.pth')
    read = read_backbone(weights)
    assert any('tied_gcb' in name for name in read.state)
    assert read.card['type'] == 'ResNet'
    assert read.card['variant'] is None
    assert read.card['licence'] is None
    assert set(read.card['options']) == {'depth', 'base_channels', 'plugins'}


@pytest.fixture(scope='module')
def narrow():
    return source('ResNet', torch.float32, depth=50, base_channels=16).state_dict()


def card_of(folder, pattern):
    [path] = folder.glob(pattern)
    return json.loads(path.with_suffix('.json').read_text())


def test_a_config_that_is_called_as_a_variant_is_no_variant(run, narrow, tmp_path):
    torch.save(narrow, 'narrow.pth')
    (tmp_path / 'dsnet50.py').write_text(CONFIG)
    status, out, err = run('narrow.pth', '--to', 'dsnet50.py')
    assert status == 0, err
    card = card_of(tmp_path, 'dsnet50-from-narrow-*.safetensors')
    assert (card['variant'], card['type']) == (None, 'ResNet')
    assert {key: card['options'][key] for key in ('depth', 'base_channels')} == dict(depth=50, base_channels=16)
    assert 'plugins' in card['options']
    assert 'Images: not stated in dsnet50.py' in out and card['warm_start']['images'] == 'not stated in dsnet50.py'


def test_style_and_images_are_those_of_the_config(run, narrow, tmp_path):
    torch.save(narrow, 'narrow.pth')
    inputs = 'dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)'
    config = CONFIG.replace("type='MaskRCNN',", f"type='MaskRCNN', data_preprocessor={inputs},")
    (tmp_path / 'bgr.py').write_text(config.replace('depth=50', "depth=50, style='caffe'"))
    status, out, err = run('narrow.pth', '--to', 'bgr.py')
    assert (status, out) == (2, '')
    assert "bgr has style='caffe'" in err and '--style caffe' in err
    status, out, err = run('narrow.pth', '--to', 'bgr.py', '--style', 'caffe')
    assert status == 0, err
    images = 'BGR, mean (103.53, 116.28, 123.675), standard deviation (1, 1, 1), of bgr.py'
    assert f"Images: {images}; the source, of Caffe's form (so it was said), was" in out
    assert 'to the bit' in out and 'ResNet-50 of style caffe' in out
    assert card_of(tmp_path, 'bgr-from-*.safetensors')['warm_start']['images'] == images


def test_options_that_change_the_function_are_in_the_card(run, narrow, tmp_path):
    torch.save(narrow, 'narrow.pth')
    other = 'depth=50, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)'
    (tmp_path / 'dilated.py').write_text(CONFIG.replace('depth=50', other))
    status, out, err = run('narrow.pth', '--to', 'dilated.py')
    assert status == 0, err
    assert 'NOT those of the source' in out and 'to the bit' not in out
    warm = card_of(tmp_path, 'dilated-from-*.safetensors')['warm_start']
    assert warm['altered'] == ['strides=(1, 2, 2, 1)', 'dilations=(1, 1, 1, 2)']
    assert warm['sizes'] == ['stage 4 is 4x4 in place of 2x2']
    assert 'NOT' in warm['equality']


def test_a_folder_may_be_called_as_a_file(run, narrow, tmp_path):
    torch.save(narrow, 'narrow.pth')
    (tmp_path / 'my.py').write_text(CONFIG)
    (tmp_path / 'x.pth').mkdir()
    status, _, err = run('narrow.pth', '--to', 'my.py', '--out', 'x.pth')
    assert status == 0, err
    assert len(list((tmp_path / 'x.pth').glob('my-from-narrow-*.safetensors'))) == 1


@pytest.mark.filterwarnings('ignore:.*quantiz.*', 'ignore:TypedStorage')
@pytest.mark.parametrize('dtype', [torch.int8, 'packed'])
def test_whole_numbers_are_one_sentence(run, narrow, tmp_path, dtype):
    pack = (
        (lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)) if dtype == 'packed' else (lambda v: v.to(dtype))
    )
    torch.save({key: pack(value) if value.ndim == 4 else value for key, value in narrow.items()}, 'int.pth')
    (tmp_path / 'my.py').write_text(CONFIG)
    status, out, err = run('int.pth', '--to', 'my.py')
    assert (status, out) == (2, '')
    assert 'error: ' in err and 'Traceback' not in err
    assert not list(tmp_path.glob('*.safetensors'))


def test_the_hcgnet_authors_terms_are_told_and_kept(run, tmp_path):
    arch = ARCHS['B']
    theirs = authors_weights(arch['blocks'], arch['growth_rates'], torch.float32)
    backbone = {detector_name(k): v for k, v in theirs.items() if not k.startswith('classifier')}
    torch.save(dict(state_dict={**backbone, 'neck.a.weight': torch.zeros(1)}), 'HCGNet_detection.pth')
    status, out, err = run('HCGNet_detection.pth', '--to', 'hcgnet_b')
    assert status == 0, err
    assert f'Licence: {hcgnet.LICENCE}.' in out
    assert 'left out              1  neck.a.weight' in out
    [weights] = tmp_path.glob('hcgnet_b-from-HCGNet_detection-*.safetensors')
    card = json.loads(weights.with_suffix('.json').read_text())
    assert card['licence'].startswith('research only') and 'missing' in card['licence']
    loaded = mmhybrid.create_backbone('hcgnet_b', checkpoint=weights).state_dict()
    assert torch.equal(loaded['stem.1.weight'], theirs['features.norm0.weight'])
    assert torch.equal(loaded['norm.running_var'], theirs['features.norm5.running_var'])


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('none.pth', '--to', 'dsnet50'), 'There is no file none.pth'),
        (('torchvision://resnet50', '--to', 'dsnet50'), 'download it first'),
        (('a.pth', '--to', 'dsnet51'), "There is no backbone 'dsnet51'; did you mean dsnet50"),
        (('a.pth', '--to', 'tiedresnet50'), 'No weights can be carried over to tiedresnet50: its convolutions share'),
        (('a.pth', '--to', 'hsresnet50'), 'No weights can be carried over to hsresnet50: its hierarchical splits'),
        (('a.pth', '--to', 'dsnet50', '--out', 'b.pth', '--format', 'safetensors'), 'contradict each other'),
        (('a.pth', '--to', 'dsnet50', '--out', 'a.pth/b'), 'is no folder to write in'),
        (('a.pth', '--to', 'dsnet50'), 'holds no tensors of a backbone'),
        (('empty.pth', '--to', 'dsnet50'), 'is not read, because it is empty'),
        (('a.pth',), 'required: --to'),
    ],
)
def test_a_mistake_is_one_sentence(run, tmp_path, words, message):
    torch.save({'a': 1}, 'a.pth')
    (tmp_path / 'empty.pth').touch()
    try:
        status, out, err = run(*words)
    except SystemExit as exit:
        assert exit.code == 2
        return
    assert (status, out) == (2, '')
    assert message in err
    assert err.splitlines()[-1].startswith('error: ')
    assert 'Traceback' not in err


def test_help_imports_nothing_heavy():
    script = (
        'import sys; from mmhybrid.cli import main\n'
        'try: main(["convert", "--help"])\n'
        'except SystemExit: print(sorted({"torch", "mmdet", "mmengine"} & set(sys.modules)))'
    )
    out = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True).stdout
    assert 'example:' in out
    assert out.splitlines()[-1] == '[]'
