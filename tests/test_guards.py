import pytest
from mmengine.config import Config

import mmhybrid.registry  # noqa: F401
from mmhybrid.engine import LoadedWeightsHook
from mmhybrid.errors import InputError
from mmhybrid.guards import GUARDS, add_guards
from mmhybrid.paths import config_path


def types(cfg):
    return [hook.type for hook in cfg.custom_hooks]


def test_our_configs_have_them_all():
    cfg = Config.fromfile(config_path('retinanet_resnet50_fpn_1x'))
    before = types(cfg)
    add_guards(cfg)
    assert types(cfg) == before
    assert set(GUARDS) < set(before)


def test_another_config_gets_them():
    cfg = Config(dict(custom_hooks=[dict(type='EMAHook')]))
    add_guards(cfg)
    assert types(cfg) == ['EMAHook', *(f'mmdet.{name}' for name in GUARDS)]
    empty = Config({})
    add_guards(empty)
    assert len(empty.custom_hooks) == 4


@pytest.mark.parametrize('kind', ['LoadedWeightsHook', 'mmdet.LoadedWeightsHook', LoadedWeightsHook])
def test_those_of_the_config_are_kept_and_set(kind):
    hooks = [dict(type=kind, allow_missing=['neck']), dict(type='NonFiniteLossHook', max_in_a_row=3)]
    cfg = Config(dict(custom_hooks=hooks))
    add_guards(cfg)
    assert len(cfg.custom_hooks) == 4
    assert cfg.custom_hooks[0].allow_missing == ['neck']
    assert cfg.custom_hooks[1].to_dict() == dict(type='NonFiniteLossHook', max_in_a_row=3)
    add_guards(cfg, allow_missing=['roi_head'], on_nonfinite='skip')
    assert cfg.custom_hooks[0].allow_missing == ['roi_head']
    assert cfg.custom_hooks[1].on_nonfinite == 'skip'
    add_guards(cfg, allow_missing=[])
    assert cfg.custom_hooks[0].allow_missing is True


@pytest.mark.parametrize('hooks', [['EMAHook'], dict(type='EMAHook'), 'EMAHook'])
def test_what_is_no_list_of_hooks(hooks):
    with pytest.raises(InputError, match='make it a list of dict'):
        add_guards(Config(dict(custom_hooks=hooks)))
