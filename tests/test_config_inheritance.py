"""Configs elsewhere that inherit from this package: from the source tree, as it is tested here, and from a wheel."""

import os
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import mmengine.config.utils
import mmengine.hub
import pytest
from mmengine.config import Config

import mmhybrid
import mmhybrid.registry
from mmhybrid import config_bases
from mmhybrid.errors import InputError
from mmhybrid.paths import base_config

REPO = Path(__file__).resolve().parents[1]
MAIN = 'mask_rcnn_tiedresnet50_fpn_2x.py'


@pytest.fixture(scope='module', autouse=True)
def quick_to_read():
    """MMEngine reads all of MMDetection's metafiles again for each `mmdet::` in a config."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load', cache(mmengine.config.utils.load))
        yield


def write(folder, text):
    path = folder / 'own.py'
    path.write_text(text)
    return path


@pytest.mark.parametrize('base', [MAIN, MAIN.removesuffix('.py')])
def test_a_config_elsewhere_inherits(tmp_path, base):
    own = Config.fromfile(write(tmp_path, f"_base_ = 'mmhybrid::{base}'\nmodel = dict(roi_head=dict(a=1))"))
    there = Config.fromfile(mmhybrid.config_path(MAIN))
    assert own.model.roi_head.pop('a') == 1
    assert own.custom_imports == there.custom_imports
    assert own.optim_wrapper.optimizer == there.optim_wrapper.optimizer
    assert {k: v for k, v in own.model.items() if k != '_scope_'} == {
        k: v for k, v in there.model.items() if k != '_scope_'
    }


def test_a_project_with_a_scope_of_its_own_finds_the_parts(tmp_path):
    own = Config.fromfile(write(tmp_path, f"_base_ = 'mmhybrid::{MAIN}'\ndefault_scope = 'another'"))
    assert own.model._scope_ == own.val_evaluator._scope_ == 'mmdet'


def test_parts_of_configs_and_those_of_others_can_be_bases(tmp_path):
    own = Config.fromfile(
        write(
            tmp_path,
            "_base_ = ['mmdet::_base_/schedules/schedule_1x.py', 'mmhybrid::_base_/backbones/tiedresnet50.py']\n"
            'model = dict(backbone=_base_.backbone)',
        )
    )
    assert own.model.backbone.type == 'TiedResNet'
    assert own.train_cfg.max_epochs == 12


def test_mmengine_gives_it_by_name():
    get_config = mmengine.hub.get_config
    assert get_config(f'mmhybrid::{MAIN}').model == Config.fromfile(mmhybrid.config_path(MAIN)).model
    assert get_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py').model.type == 'RetinaNet'
    with pytest.raises(LookupError, match='no published weights'):
        get_config(f'mmhybrid::{MAIN}', pretrained=True)
    with pytest.raises(InputError, match='There is no config mmhybrid::nothing'):
        get_config('mmhybrid::nothing')
    with pytest.raises(InputError, match='get_model cannot build mmhybrid::'):
        mmengine.hub.get_model(f'mmhybrid::{MAIN}')


def test_a_program_may_have_imported_it_before():
    assert not hasattr(mmengine.hub.get_config, '__wrapped__')  # it is MMEngine's own, whoever has it


def test_installing_again_changes_nothing():
    before = Config._get_cfg_path, mmengine.hub.hub.install_package
    config_bases.install()
    assert (Config._get_cfg_path, mmengine.hub.hub.install_package) == before


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        (
            'mask_rcnn_tiedresnet50_fpn.py',
            'mmhybrid::mask_rcnn_tiedresnet50_fpn.py; did you mean mask_rcnn',
        ),
        ('', 'mmhybrid:: names no config'),
        ('_base_/runtim.py', 'did you mean _base_/runtime.py'),
        ('../pyproject.toml', 'holds all of them'),
    ],
)
def test_a_base_that_is_not_there_is_told(tmp_path, name, hint):
    with pytest.raises(InputError, match=hint):
        Config.fromfile(write(tmp_path, f"_base_ = 'mmhybrid::{name}'"))


def test_every_base_file_is_found():
    inside = [path.relative_to(REPO / 'configs') for path in (REPO / 'configs' / '_base_').rglob('*.py')]
    assert len(inside) > 5
    for path in inside:
        assert base_config(path.as_posix()) == base_config(path.with_suffix('').as_posix()) == REPO / 'configs' / path


def test_a_config_inherits_from_an_installed_wheel(tmp_path):
    source, site = tmp_path / 'source', tmp_path / 'site'
    for folder in ('mmhybrid', 'configs', 'tools'):
        copytree(REPO / folder, source / folder, ignore=ignore_patterns('__pycache__'))
    for file in ('pyproject.toml', 'README.md', 'LICENSE'):
        copy(REPO / file, source)
    build = 'import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])'
    words = [sys.executable, '-W', 'ignore', '-c', build, str(tmp_path)]
    done = subprocess.run(words, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob('mmhybrid-*.whl'))) as wheel:
        wheel.extractall(site)
    own = write(tmp_path, "_base_ = 'mmhybrid::_base_/backbones/tiedresnet50.py'\nbackbone = dict(depth=101)")
    code = (
        'import sys, mmhybrid; from mmengine.config import Config; from mmhybrid import config_bases; '
        'config_bases.install(); c = Config.fromfile(sys.argv[1]); '
        f"print(mmhybrid.__file__, config_bases.base_config('{MAIN}'), c.backbone.type, c.backbone.depth)"
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, str(own)],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    package = site / 'mmhybrid'
    assert done.stdout.split() == [f'{package}/__init__.py', f'{package}/configs/{MAIN}', 'TiedResNet', '101']
