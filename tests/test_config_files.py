"""The files of the configs: made from one table, named for what they hold, indexed, found and shipped."""

import ast
import re

import pytest
import yaml

import mmhybrid
from mmhybrid import zoo
from mmhybrid.errors import InputError
from tools import make_configs

from .test_configs import BASELINES, COCO, CONFIGS, DETECTORS, MAIN, REPO, parts

WITH_ALL_DETECTORS = (
    *('tiedresnet50', 'tiedresnext50', 'tiedsenet50', 'tiedresnet50_tiedgcb', 'tiedresnest50', 'hcgnet_b'),
    *('dsnet50', 'ds2net50', 'ds2res2net50', 'hsresnet50', 'hsresnet50_d', 'sae_resnet50'),
)
# 32x32 images; a depth the paper trains on ImageNet only; a depth below 50; the control of an ablation.
WITHOUT_CONFIG = {'hcgnet_a1', 'hcgnet_a2', 'hcgnet_a3', 'tiedresnet152', 'sae_resnet18', 'resnet50_dense'}


def test_they_are_what_the_generator_writes(capsys):
    assert make_configs.main(['--check']) == 0, capsys.readouterr().err


def test_a_file_that_is_not_what_the_generator_writes_is_named(tmp_path, capsys):
    assert make_configs.main(['--out-dir', str(tmp_path)]) == 0
    assert make_configs.main(['--out-dir', str(tmp_path), '--check']) == 0
    changed, missing, unknown, index = (
        tmp_path / name
        for name in ('retinanet_dsnet50_fpn_1x.py', COCO[0].name, 'retinanet_own_fpn_1x.py', 'metafile.yml')
    )
    changed.write_text(changed.read_text().replace('0.01', '0.02'))
    missing.unlink()
    unknown.touch()
    index.write_text(index.read_text().replace('&2x', '&3x'))
    (tmp_path / 'own.py').touch()  # a user's own is left alone
    capsys.readouterr()
    assert make_configs.main(['--out-dir', str(tmp_path), '--check']) == 1
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(
        [
            f'{changed} differs from what tools/make_configs.py writes',
            f'{missing} is missing',
            f'{unknown} is not in the tables of tools/make_configs.py',
            f'{index} differs from what tools/make_configs.py writes',
        ]
    )


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_its_base_comes_first(path):
    # Stock MMEngine takes a config that begins with an import, of a module that Python froze, for one of another kind.
    first = ast.parse(path.read_text()).body[0]
    assert isinstance(first, ast.Assign)
    assert first.targets[0].id == '_base_'


@pytest.mark.parametrize('path', COCO, ids=lambda path: path.stem)
def test_its_first_line_names_it(path):
    detector, backbone, schedule = parts(path)
    line = path.read_text().splitlines()[0]
    told = re.fullmatch(rf'# ([\w -]+), (.+), FPN, {schedule} schedule \((ours: )?\d+ epochs, .*\)\.', line)
    assert told[1].lower().replace('-', '_').replace(' ', '_') == detector.replace('rcnn', 'r_cnn')
    plain = re.sub(r' \((\d\ds x )?(?=\d)', '_', told[2].lower()).replace(' with ', '_')
    assert re.sub(r'\W|_', '', plain).removeprefix('_').startswith(backbone.replace('_', '').replace('28w6s', '28w'))
    ours = backbone in zoo.VARIANTS and zoo.VARIANTS[backbone].family in ('dsnet', 'hsresnet', 'senetv2')
    assert bool(told[3]) == ours


def test_every_backbone_has_its_configs_and_its_baseline():
    have = {parts(path) for path in COCO}
    for name in set(mmhybrid.list_backbones()) - WITHOUT_CONFIG:
        schedule = '2x' if zoo.VARIANTS[name].family == 'tbc' else '1x'
        for detector in DETECTORS if name in WITH_ALL_DETECTORS else ['mask_rcnn']:
            assert (detector, name, schedule) in have
            assert (detector, 'resnet50', schedule) in have
    names = {backbone for _, backbone, _ in have}
    assert names == (set(mmhybrid.list_backbones()) - WITHOUT_CONFIG) | set(BASELINES)


def test_the_metafile_lists_every_config_and_claims_nothing():
    index = yaml.safe_load((REPO / 'model-index.yml').read_text())
    (metafile,) = [yaml.safe_load((REPO / name).read_text()) for name in index['Import']]
    assert sorted(model['Config'] for model in metafile['Models']) == [f'configs/{path.name}' for path in COCO]
    papers = {c['Name']: c['Paper'] for c in metafile['Collections']}
    for model in metafile['Models']:
        path = REPO / model['Config']
        _, backbone, schedule = parts(path)
        assert model['Name'] == path.stem
        assert model['Metadata'] == {'Training Data': 'COCO', 'Epochs': 12 if schedule == '1x' else 24}
        assert model['Results'] == [] and model['Weights'] is None
        paper = papers[model['In Collection']]
        if backbone in zoo.VARIANTS:
            family = zoo.FAMILIES[zoo.VARIANTS[backbone].family]
            assert paper == dict(Title=family.title, URL=f'https://arxiv.org/abs/{family.arxiv}')
        else:
            assert model['In Collection'] == BASELINES[backbone][0]


def test_configs_are_found_by_name():
    assert mmhybrid.config_path(MAIN.stem) == mmhybrid.config_path(MAIN.name) == MAIN
    with pytest.raises(
        InputError, match=r'no config mmhybrid::mask_rcnn_tiedresnet50_fpn; did you mean mask_rcnn_tiedresnet50'
    ):
        mmhybrid.config_path('mask_rcnn_tiedresnet50_fpn')
    with pytest.raises(InputError, match='holds all of them'):
        mmhybrid.config_path('?')


def test_the_wheel_gets_every_package_and_config():
    tomllib = pytest.importorskip('tomllib')
    setuptools = tomllib.loads((REPO / 'pyproject.toml').read_text())['tool']['setuptools']
    folders = {path.parent.relative_to(REPO) for path in (REPO / 'mmhybrid').rglob('__init__.py')}
    outside = setuptools['package-dir']
    assert set(setuptools['packages']) == {'.'.join(folder.parts) for folder in folders} | set(outside)
    for package, folder in outside.items():
        taken = {
            path for glob in ('*.py', *setuptools['package-data'][package]) for path in REPO.glob(f'{folder}/{glob}')
        }
        assert taken == {p for p in (REPO / folder).rglob('*') if p.is_file() and p.suffix != '.pyc'}
