"""What is written after ``--cfg-options``, against MMEngine's own reading of it."""

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config, DictAction

from mmhybrid.config_options import OptionsAction, apply_options, parse_value
from mmhybrid.errors import InputError

WORDS = st.text('ab1.-/=_', min_size=1, max_size=4) | st.sampled_from(['True', 'false', 'None', '1e3'])


@st.composite
def bracketed(draw, depth=3):
    items = draw(st.lists(bracketed(depth - 1) if depth and draw(st.booleans()) else WORDS, min_size=1, max_size=3))
    opening, closing = draw(st.sampled_from(['()', '[]']))
    space = draw(st.sampled_from(['', ' ']))
    return f'{opening}{f",{space}".join(items)}{draw(st.sampled_from(["", ","]))}{closing}'


@given(WORDS | bracketed() | st.lists(WORDS, min_size=2, max_size=4).map(','.join))
def test_without_spaces_values_are_mmengines(text):
    theirs = DictAction._parse_iterable(text)
    assert repr(parse_value(text)) == repr(theirs)
    assert repr(parse_value(f'"{text}"')) == repr(theirs)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('/my data', '/my data'),
        ('/a=b c', '/a=b c'),
        ('/my data (1)/x', '/my data (1)/x'),
        ('work[1]/a b', 'work[1]/a b'),
        ('(a)/(b)', '(a)/(b)'),
        ('/a(1,2', '/a(1,2'),
        ('a)b,c(d', 'a)b,c(d'),
        ("/bob's", "/bob's"),
        ('[a b, c]', ['a b', 'c']),
        ('[(1, 2), [a b]]', [(1, 2), ['a b']]),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),  # without end in MMEngine
        (' 5 ', 5),
        ('', ''),
        ('[]', []),
        ('a\0,b', ['a\0', 'b']),
        ('x' * 9999 + ',1', ['x' * 9999, 1]),
    ],
)
def test_spaces_and_brackets_stay(text, value):
    assert parse_value(text) == value


def test_what_exists_is_a_path(tmp_path, monkeypatch):
    for name in ('a,b', '[c]', '(1,2)'):
        (tmp_path / name).mkdir()
        assert parse_value(str(tmp_path / name)) == str(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert parse_value('[c]') == '[c]'
    (tmp_path / '5').mkdir()
    assert parse_value('5') == 5


def parse(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={})
    return parser.parse_args(['--cfg-options', *words]).cfg_options


def test_the_action(capsys):
    assert parse('a.b=1,2', 'c=x y', 'd=', 'e=f=g') == {'a.b': [1, 2], 'c': 'x y', 'd': '', 'e': 'f=g'}
    assert parse('data_root=/a, b', 'backbone_checkpoint=[1].pth') == {
        'data_root': '/a, b',
        'backbone_checkpoint': '[1].pth',
    }
    assert parse('backbone_checkpoint=None') == {'backbone_checkpoint': None}
    assert parse('a=1', '--cfg-options', 'b=2') == {'a': 1, 'b': 2}
    for word in ('data', '=1'):
        with pytest.raises(SystemExit):
            parse('data_root=/my', word)
        assert f"--cfg-options takes KEY=VALUE, and '{word}' is none" in capsys.readouterr().err


@pytest.fixture
def cfg():
    return Config(
        dict(
            model=dict(type='RetinaNet', backbone=dict(type='ResNet', depth=50)),
            train_dataloader=dict(batch_size=2),
            param_scheduler=[dict(type='LinearLR', begin=0)],
            val_cfg=None,
        )
    )


@pytest.mark.parametrize(
    ('key', 'sentence'),
    [
        ('param_scheduler.1.begin', r'param_scheduler in x\.py is a list of 1; number its entries from 0'),
        ('param_scheduler.-1.begin', 'is a list of 1'),
        ('param_scheduler.x', 'is a list of 1'),
        ('param_scheduler.0', r'param_scheduler in x\.py is a list; set the whole of it'),
        ('model.type.x', r"model\.type in x\.py is 'RetinaNet', which has no x\."),
        ('model.backbone.depth.x.y', r'model\.backbone\.depth in x\.py is 50, which has no x\.'),
        ('val_cfg.type', r'val_cfg in x\.py is None, which has no type\.'),
        ('model..x', r'a name in model\.\.x is empty'),
        ('train_dataloder.batch_size', r'x\.py has no train_dataloder, did you mean train_dataloader'),
        ('data_root', r'x\.py has no data_root'),
        ('backbone_checkpoint', r'x\.py has no backbone_checkpoint'),
    ],
)
def test_an_option_that_leads_nowhere(cfg, key, sentence):
    before = cfg.to_dict()
    with pytest.raises(InputError, match=sentence):
        apply_options(cfg, {key: 1}, 'x.py')
    assert cfg.to_dict() == before


def test_options_that_apply(cfg):
    options = {
        'param_scheduler.0.begin': 5,
        'model.backbone.new.one': 1,
        'model.neck': [1],
        'resume': True,
        'tta_model.type': 'x',
        'mine': 3,
        'val_cfg': 'x',
    }
    apply_options(cfg, options, 'x.py')
    assert cfg.param_scheduler[0].begin == 5
    assert cfg.model.backbone.to_dict() == dict(type='ResNet', depth=50, new=dict(one=1))
    assert (cfg.model.neck, cfg.resume, cfg.tta_model.type, cfg.mine, cfg.val_cfg) == ([1], True, 'x', 3, 'x')


def test_handles_in_a_config_that_has_nothing_for_them():
    cfg = Config(dict(data_root='a', backbone_checkpoint=None))
    apply_options(cfg, dict(data_root='/b c'), 'x.py')
    assert cfg.data_root == '/b c/'
    with pytest.raises(InputError, match='is no folder'):
        apply_options(cfg, dict(data_root=None), 'x.py')
    with pytest.raises(InputError, match=r'needs a config with a model\.backbone'):
        apply_options(cfg, dict(backbone_checkpoint='x.pth'), 'x.py')
