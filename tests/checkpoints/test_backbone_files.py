import hashlib
import itertools
import json
import struct

import pytest
import safetensors.torch
import torch
from mmengine.runner import load_checkpoint
from torch import nn

import mmhybrid
from mmhybrid.backbones import HCGNet, TiedResNet
from mmhybrid.checkpoints import cards, layouts, tensor_files
from mmhybrid.checkpoints.backbone_files import load_backbone, read_backbone, write_backbone
from mmhybrid.checkpoints.hcgnet import SMG_PARTS
from mmhybrid.errors import InputError

from .loading import SMALL, pretrained

SUFFIXES = ('.safetensors', '.pth')
EVERY_SUFFIX = pytest.mark.parametrize('suffix', SUFFIXES)


def small(seed=0, **options):
    torch.manual_seed(seed)
    backbone = mmhybrid.create_backbone('tiedresnet50', **{**SMALL, **options})
    for value in backbone.state_dict().values():
        if value.is_floating_point():
            nn.init.uniform_(value, 0.1, 2)
    return backbone


@pytest.fixture(scope='module')
def source():
    return small()


def same(a, b):
    return list(a) == list(b) and all(
        x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a.values(), b.values(), strict=True)
    )


def written(source, folder, suffix='.safetensors', **card):
    return write_backbone(source.state_dict(), folder / f'net{suffix}', card)


def saved(content, folder):
    torch.save(content, folder / 'weights.pth')
    return folder / 'weights.pth'


@EVERY_SUFFIX
def test_there_and_back_to_the_bit(source, tmp_path, suffix, told):
    path = written(source, tmp_path, suffix, variant='tiedresnet50', data='cifar10', top1=91.25)
    other = mmhybrid.create_backbone('tiedresnet50', checkpoint=path, **SMALL)
    assert same(source.state_dict(), other.state_dict())
    by_mmengine = TiedResNet(**SMALL, init_cfg=pretrained(path))
    by_mmengine.init_weights()
    assert same(source.state_dict(), by_mmengine.state_dict())
    told_of_it = 'they are, as the file says, of tiedresnet50, cifar10, top-1 91.25'
    sentence = f'Weights of TiedResNet: 79 of 79 tensors were loaded; {told_of_it}.'
    assert told.count(sentence) == 2


@EVERY_SUFFIX
def test_the_name_has_the_hash_of_the_file_and_the_same_weights_the_same_name(source, tmp_path, suffix):
    path = written(source, tmp_path / 'a', suffix, data='x')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'net-{digest[:8]}{suffix}'
    backwards = dict(reversed(source.state_dict().items()))
    again = write_backbone(backwards, tmp_path / 'b' / f'net{suffix}', dict(data='x'))
    assert again.name == path.name
    assert again.read_bytes() == path.read_bytes()
    assert write_backbone(backwards, tmp_path / 'b' / f'net{suffix}', dict(data='x')) == again
    card = json.loads(cards.path_of(path).read_bytes())
    assert card['sha256'] == digest
    assert list(card)[2:] == list(cards.KEYS)
    assert card['data'] == 'x'
    assert card['top1'] is None


def test_a_lone_safetensors_file_knows_what_it_is(source, tmp_path):
    path = written(source, tmp_path, variant='tiedresnet50', licence='Apache-2.0')
    cards.path_of(path).unlink()
    card = read_backbone(path).card
    assert (card['variant'], card['licence'], card['data']) == ('tiedresnet50', 'Apache-2.0', None)
    # Whoever has the library alone reads it, too.
    assert same(dict(sorted(source.state_dict().items())), dict(sorted(safetensors.torch.load_file(path).items())))


@EVERY_SUFFIX
def test_tensors_of_every_kind(tmp_path, suffix):
    whole = torch.randn(4, 6)
    state = {
        'half': torch.randn(3, 3, 2, 2).bfloat16(),
        'float16': torch.randn(5).half(),
        'long': torch.tensor(7),
        'transposed': whole.t(),
        'part': whole[1:3, ::2],
        'shared': whole,
        'channels_last': torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        'parameter': nn.Parameter(torch.ones(2)),
        'empty': torch.zeros(0, 3),
    }
    back = read_backbone(write_backbone(state, tmp_path / f'x{suffix}', {})).state
    assert same(dict(sorted(state.items())), dict(sorted(back.items())))
    assert all(value.is_contiguous() for value in back.values())


@EVERY_SUFFIX
def test_nothing_is_overwritten(source, tmp_path, suffix):
    path = written(source, tmp_path, suffix)
    cards.path_of(path).write_text('{"mine": 1}')
    with pytest.raises(InputError, match=rf'{path.stem}\.json: is there, with another content'):
        written(source, tmp_path, suffix)
    assert cards.path_of(path).read_text() == '{"mine": 1}'
    write_backbone(source.state_dict(), tmp_path / f'net{suffix}', {}, force=True)
    assert 'mine' not in cards.path_of(path).read_text()
    with pytest.raises(InputError, match=r'written as \.safetensors or \.pth'):
        write_backbone({}, tmp_path / 'net.onnx', {})


WRAPPERS = [p for n in range(4) for p in itertools.permutations(('module.', 'model.', 'backbone.', ''), n)]


@pytest.mark.parametrize('prefix', sorted({''.join(parts) for parts in WRAPPERS}))
@pytest.mark.parametrize('key', [None, *layouts.STATE_KEYS])
def test_the_prefix_is_found(source, prefix, key):
    wrappers = prefix.partition('backbone.')[0]
    head = f'{wrappers}head.fc.weight' if 'backbone.' in prefix else f'{prefix}fc.weight'
    state = {f'{prefix}{name}': value for name, value in source.state_dict().items()} | {head: torch.zeros(2)}
    part = layouts.backbone_part(layouts.state_of(state if key is None else {key: state, 'meta': {}}))
    assert part.prefix == prefix
    assert same(part.state, source.state_dict())
    assert part.left_out == (head,)


@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.', 'module.backbone.', 'model.backbone.'])
def test_every_road_finds_it(source, tmp_path, prefix, told):
    state = {f'{prefix}{name}': value for name, value in source.state_dict().items()}
    head = f'{prefix.partition("backbone.")[0]}head.fc.weight'
    path = saved(dict(state_dict=state | {head: torch.zeros(2)}), tmp_path)
    by_init = TiedResNet(**SMALL, init_cfg=pretrained(path))
    by_init.init_weights()
    by_name, by_hand = mmhybrid.create_backbone('tiedresnet50', path, **SMALL), small(1)
    made = load_backbone(by_hand, path)
    assert len(made.loaded) == 79
    assert all(same(source.state_dict(), other.state_dict()) for other in (by_init, by_name, by_hand))
    assert not prefix or f'found under {prefix!r}' in told[-1]
    assert f'left out, as no part of a backbone: {head}' in told[-1]


def test_the_authors_names(tmp_path):
    """Of HCGNet; mmhybrid.checkpoints.hcgnet is tested with their own code's names."""
    arch = dict(stem='imagenet', blocks=(1, 1, 1, 1), growth_rates=(8, 8, 8, 8))
    source, theirs = HCGNet(arch), {}
    for name, value in source.state_dict().items():
        first, _, rest = name.partition('.')
        if first == 'stem':
            index, _, rest = rest.partition('.')
            theirs[f'features.{"conv" if int(index) % 3 == 0 else "norm"}{int(index) // 3}.{rest}'] = value
        elif first == 'norm':
            theirs[f'features.norm5.{rest}'] = value
        else:
            block = f'transition{first[10:]}' if 'transition' in first else f'hybridblock{first[12:]}.SMG1'
            rest = rest if 'transition' in first else rest.partition('.')[2]
            part = next(k for k, v in SMG_PARTS.items() if rest.startswith(f'{v}.'))
            theirs[f'features.{block}.{part}.{rest[len(SMG_PARTS[part]) + 1 :]}'] = value
    net = {f'module.{name}': value for name, value in (theirs | {'classifier.bias': torch.zeros(1)}).items()}
    path = saved(dict(net=net), tmp_path)
    other = HCGNet(arch)
    load_backbone(other, path)
    assert same(source.state_dict(), other.state_dict())


def test_damaged_files(source, tmp_path):
    good = written(source, tmp_path, variant='tiedresnet50').read_bytes()
    length = struct.unpack('<Q', good[:8])[0]
    flipped = bytearray(good)
    flipped[-100] ^= 1
    bad = {
        'is cut off': good[:-5],
        'invalid header length': good[: length // 2],
        'header too large': b'\xff' * 8 + good[8:],
        'invalid JSON': good[:8] + b'{x' + good[10:],
        'is cut off: ': good[:4],
        'do not match their checksum': bytes(flipped),
        'is damaged: ': b'PK' + good[2:],
    }
    for words, data in bad.items():
        path = tmp_path / 'bad.safetensors'
        path.write_bytes(data)
        with pytest.raises(InputError, match=rf'{path} is not read, because it (is damaged|is cut off)') as error:
            read_backbone(path)
        assert words in str(error.value), str(error.value)


def test_a_file_that_is_not_its_cards(source, tmp_path):
    path = written(source, tmp_path, '.pth')
    torch.save(small(1).state_dict(), path)
    for load in (read_backbone, lambda path: load_checkpoint(small(), str(path))):
        with pytest.raises(InputError, match='is not the file of which the card'):
            load(path)
    cards.path_of(path).write_text('[1, 2]')  # no card of ours
    assert read_backbone(path).card is None


def test_a_card_within_that_is_not_the_files(source, tmp_path):
    path = written(source, tmp_path, top1=45.5, licence='research only')
    good = path.read_bytes()
    for old, new in ((b'45.5', b'95.5'), (b'research only', b'Apache-2.0   '), (rb'{\"', rb'[\"')):
        for beside in (True, False):
            other = tmp_path / f'other{beside}' / path.name
            other.parent.mkdir(exist_ok=True)
            other.write_bytes(good.replace(old, new, 1))
            if beside:
                cards.path_of(other).write_bytes(cards.path_of(path).read_bytes())
            with pytest.raises(InputError, match=r'its card (does not match its checksum|cannot be read)'):
                read_backbone(other)


@EVERY_SUFFIX
def test_the_card_beside_is_compared_whatever_is_within(source, tmp_path, suffix):
    path = written(source, tmp_path, suffix, top1=45.5)
    card = json.loads(cards.path_of(path).read_bytes())
    cards.path_of(path).write_text(json.dumps(card | dict(sha256='0' * 64)))
    for load in (read_backbone, lambda path: load_checkpoint(small(), str(path))):
        with pytest.raises(InputError, match='is not the file of which the card'):
            load(path)
    cards.path_of(path).write_text(json.dumps(card | dict(sha256=None, top1=95.0)))  # of no file
    assert (read_backbone(path).card or {}).get('top1') == (45.5 if suffix == '.safetensors' else None)


def test_tensors_that_are_not_simply_numbers_are_not_written(tmp_path):
    for value, words in (
        (torch.eye(3).to_sparse(), 'a is a sparse tensor'),
        (torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8), r'a is quantised \(qint8\)'),
        (torch.zeros(3, device='meta'), 'a has a shape and no numbers'),
    ):
        for suffix in SUFFIXES:
            with pytest.raises(InputError, match=f'{words}, which is not written'):
                write_backbone({'a': value}, tmp_path / f'a{suffix}', {})
    assert not list(tmp_path.iterdir())


def test_files_without_a_backbone(tmp_path):
    optimizer = dict(optimizer={'state': {0: {'momentum': torch.ones(3)}}})
    for content in ({}, dict(state_dict={}), [1], dict(state_dict={'fc.weight': torch.zeros(1)}), optimizer):
        path = saved(content, tmp_path)
        for load in (read_backbone, lambda path: load_backbone(small(), path)):
            with pytest.raises(InputError, match='holds no weights of a backbone'):
                load(path)
    with pytest.raises(InputError, match='not those of this TiedResNet: conv1'):
        load_backbone(small(), saved({'x': torch.zeros(1)}, tmp_path))
    with pytest.raises(InputError, match='has no weights of this Linear'):
        load_backbone(nn.Linear(1, 1), saved({'x': torch.zeros(1)}, tmp_path))


def test_a_pickle_in_a_safetensors_name_is_not_run(tmp_path):
    torch.save({'a': torch.zeros(1)}, tmp_path / 'a.safetensors')
    with pytest.raises(InputError, match='is not read, because it is damaged'):
        read_backbone(tmp_path / 'a.safetensors')


def test_a_safetensors_file_under_another_name(source, tmp_path):
    path = tmp_path / 'weights.bin'
    path.write_bytes(tensor_files.serialize(source.state_dict(), {}))
    assert same(dict(sorted(read_backbone(path).state.items())), dict(sorted(source.state_dict().items())))


def test_without_the_library(source, tmp_path, monkeypatch):
    path = written(source, tmp_path)
    monkeypatch.setitem(__import__('sys').modules, 'safetensors.torch', None)
    with pytest.raises(ImportError, match='pip install safetensors'):
        read_backbone(path)
