"""What is said before a run begins."""

import os
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from torch import nn

import mmhybrid.registry  # noqa: F401
from mmhybrid import backbones, early_checks, result_options
from mmhybrid.errors import InputError

VARIABLES = {name for _, names in early_checks._LAUNCHERS.values() for name in names}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (*VARIABLES, 'TORCHELASTIC_RUN_ID', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ('launcher', 'name', 'starter'),
    [
        ('pytorch', 'RANK', r'tools/dist_train\.sh'),
        ('slurm', 'SLURM_PROCID', r'tools/slurm_train\.sh'),
        ('mpi', 'OMPI_COMM_WORLD_LOCAL_RANK', 'mpirun'),
    ],
)
def test_a_launcher_that_did_not_start_this(launcher, name, starter, monkeypatch):
    with pytest.raises(InputError, match=f'--launcher {launcher} needs the environment variable {name}: .*{starter}'):
        early_checks.check_launcher(launcher)
    for variable in VARIABLES:
        monkeypatch.setenv(variable, '1')
    early_checks.check_launcher(launcher)


def test_more_processes_than_gpus_and_several_without_a_launcher(monkeypatch):
    early_checks.check_launcher('none')
    for name in (*VARIABLES, 'TORCHELASTIC_RUN_ID', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '2')
    with pytest.raises(InputError, match='add --launcher pytorch'):
        early_checks.check_launcher('none')
    for gpus in (2, 3, 0):  # 0: on CPUs any number
        monkeypatch.setattr(torch.cuda, 'device_count', lambda gpus=gpus: gpus)
        if gpus == 2:
            with pytest.raises(InputError, match='There is no GPU for process 2 of this machine, which has 2: start 2'):
                early_checks.check_launcher('pytorch')
        else:
            early_checks.check_launcher('pytorch')


def test_places_for_results(tmp_path):
    path = tmp_path / 'new' / 'out.pkl'
    early_checks.check_writable('--out', path)
    assert list(path.parent.iterdir()) == []
    path.write_text('kept')
    early_checks.check_writable('--out', path)
    assert path.read_text() == 'kept'
    for place, reason in (
        (path / 'x.pkl', 'it is below a file'),
        (path / 'x' / 'x.pkl', 'it is below a file'),
        (path.parent, 'Is a directory'),
        (tmp_path / ('x' * 300) / 'a', 'File name too long'),
        (Path('/proc/nowhere.pkl'), ''),
        ('a\0b', 'null'),
    ):
        with pytest.raises(
            InputError, match=rf'--out: (.|\n)* cannot be written \(.*{reason}.*\); choose another place'
        ):
            early_checks.check_writable('--out', place)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r'Permission denied'):
        early_checks.check_writable('--out', tmp_path / 'x.pkl')


class Detector(nn.Module):
    def __init__(self, backbone, neck):
        super().__init__()
        with torch.device('meta'):
            self.backbone, self.neck = MODELS.build(backbone), MODELS.build(neck)


TIED = dict(type='TiedResNet', depth=50, base_channels=16, base_width=8)
FPN = dict(type='FPN', out_channels=8, num_outs=5)


@pytest.mark.parametrize(
    ('backbone', 'in_channels', 'neck'),
    [
        (dict(TIED, out_indices=(1, 2, 3)), [128, 256, 512], FPN),
        (dict(type='ResNet', depth=18, base_channels=8), [8, 16, 32, 64], FPN),
        (dict(type='Res2Net', depth=50, scales=4, base_width=26), [256, 512, 1024, 2048], FPN),
        (dict(TIED, out_indices=(2, 3)), [256, 512], dict(type='ChannelMapper', out_channels=8)),
    ],
)
def test_the_channels_of_a_neck(backbone, in_channels, neck):
    early_checks.check_neck(Detector(backbone, dict(neck, in_channels=in_channels)))
    for wrong in (in_channels[1:], [*in_channels[:-1], 7], in_channels[::-1]):
        with pytest.raises(InputError) as error:
            early_checks.check_neck(Detector(backbone, dict(neck, in_channels=wrong)))
        assert f'expects {", ".join(map(str, wrong))}: set model.neck.in_channels={in_channels}' in str(error.value)


def test_unknown_channels_are_not_compared():
    regnet = dict(type='RegNet', arch='regnetx_400mf')
    early_checks.check_neck(Detector(regnet, dict(FPN, in_channels=[32, 64, 160, 384])))
    early_checks.check_neck(nn.Linear(1, 1))
    yolo = dict(type='YOLOV3Neck', num_scales=3, in_channels=[512, 256, 128], out_channels=[64, 32, 16])
    early_checks.check_neck(Detector(dict(TIED, out_indices=(1, 2, 3)), yolo))


def test_every_evaluator_that_can_writes_detections(tmp_path):
    dump = dict(type='DumpDetResults', out_file_path='x.pkl')
    cfg = Config(dict(test_evaluator=[dict(type='CocoMetric'), dump, dict(type='OcclusionCocoMetric')]))
    result_options.set_json_prefix(cfg, str(tmp_path / 'a'))
    assert [e.get('outfile_prefix') for e in cfg.test_evaluator] == [f'{tmp_path}/a', None, f'{tmp_path}/a']
    cfg = Config(dict(test_evaluator=dict(type='mmdet.CocoMetric')))
    result_options.set_json_prefix(cfg, str(tmp_path / 'a'))
    assert cfg.test_evaluator.outfile_prefix == f'{tmp_path}/a'
    for evaluator, names in (([dump], 'DumpDetResults'), (None, 'none'), (dict(type='NoSuch'), 'NoSuch')):
        with pytest.raises(InputError, match=f'--json-prefix needs .* CocoMetric, and this config has {names}'):
            result_options.set_json_prefix(Config(dict(test_evaluator=evaluator)), str(tmp_path / 'a'))
    with pytest.raises(InputError, match=r'--json-prefix: .*\.bbox\.json cannot be written'):
        result_options.set_json_prefix(cfg, f'{Path(__file__)}/a')


def test_drawing_in_a_config_that_does_not_draw(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path)))
    result_options.set_show_dir(cfg, 'drawn')
    hook = dict(type='DetVisualizationHook', draw=True, test_out_dir='drawn')
    assert cfg.default_hooks.visualization == hook
    assert cfg.visualizer.type == 'DetLocalVisualizer'
    cfg = Config(dict(default_hooks=dict(visualization=dict(type='Mine', score_thr=1)), visualizer=dict(type='Own')))
    result_options.set_show_dir(cfg, 'drawn')
    assert cfg.default_hooks.visualization == dict(hook, type='Mine', score_thr=1)
    assert cfg.visualizer == dict(type='Own')
    with pytest.raises(InputError, match='--show-dir'):
        result_options.set_show_dir(cfg, str(Path(__file__).absolute()))


def test_predictions_are_a_pickle(tmp_path):
    result_options.set_out(str(tmp_path / 'a.pkl'))
    with pytest.raises(InputError, match=r'must end in \.pkl'):
        result_options.set_out(str(tmp_path / 'a.json'))


ONE_STAGE = dict(depth=50, base_channels=16, base_width=8, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))


class TestBackboneWeights:
    """Looked at before data and model are made."""

    def config(self, tmp_path, kind='TiedResNet', allow=None, changes=None, init_cfg=None):
        file = tmp_path / 'weights.pth'
        if not file.exists():
            torch.save(backbones.TiedResNet(**ONE_STAGE).state_dict(), file)
        init_cfg = dict(type='Pretrained', checkpoint=str(file), **(init_cfg or {}))
        backbone = dict(type=kind, **{**ONE_STAGE, **(changes or {})}, init_cfg=init_cfg)
        hook = dict(type='mmdet.LoadedWeightsHook', allow_missing=allow or False)
        return Config(dict(model=dict(backbone=backbone), custom_hooks=[hook]))

    @pytest.mark.parametrize('kind', ['TiedResNet', 'mmdet.TiedResNet', backbones.TiedResNet])
    def test_another_ones_are_refused(self, tmp_path, kind):
        early_checks.check_backbone_weights(self.config(tmp_path, kind))
        with pytest.raises(InputError, match=r'weights\.pth are not those .*layer1\.0\.conv1\.weight has the shape'):
            early_checks.check_backbone_weights(self.config(tmp_path, kind, changes=dict(base_width=4)))

    @pytest.mark.parametrize('allow', [True, ['backbone.layer1'], ['back']])
    def test_but_what_may_be_missing(self, tmp_path, allow):
        early_checks.check_backbone_weights(self.config(tmp_path, allow=allow, changes=dict(base_width=4)))

    def test_files_that_cannot_be_read(self, tmp_path):
        (tmp_path / 'weights.pth').write_bytes(b'')
        with pytest.raises(InputError, match='is empty'):
            early_checks.check_backbone_weights(self.config(tmp_path))

    @pytest.mark.parametrize(
        'options',
        [
            dict(kind='ResNet', changes=dict(base_width=4)),
            dict(changes=dict(no_option=4)),  # is told where it is made
            dict(init_cfg=dict(prefix='net.'), changes=dict(base_width=4)),
            dict(init_cfg=dict(checkpoint='https://host/x.pth')),
            dict(init_cfg=dict(type='Kaiming')),
        ],
    )
    def test_what_is_left_to_the_run(self, tmp_path, options):
        cfg = self.config(tmp_path, **{key: value for key, value in options.items() if key != 'init_cfg'})
        cfg.model.backbone.init_cfg.update(options.get('init_cfg', {}))
        early_checks.check_backbone_weights(cfg)
        early_checks.check_backbone_weights(Config({}))
