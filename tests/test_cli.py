"""The command ``mmhybrid``: what it prints, and what it says of wrong input."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmhybrid import _stack, cli, counting
from mmhybrid.zoo import list_backbones
from tests.test_zoo import PARAMETERS

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / 'configs' / 'demo_mask_rcnn_tiedresnet_occluded_shapes.py'


def refused(capsys, *argv):
    try:
        status = cli.main([str(a) for a in argv])
    except SystemExit as stop:
        status = stop.code
    err = capsys.readouterr().err
    assert status == 2
    sentences = [line for line in err.splitlines() if line.startswith('error: ')]
    assert len(sentences) == 1 and err.splitlines()[-1] == sentences[0]
    assert 'Traceback' not in err
    return sentences[0]


def test_models_prints_whole_lines_into_a_pipe_and_writes_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(counting.backbones, 'list_backbones', lambda family: list_backbones(family)[-1:])
    path = tmp_path / 'models.json'
    assert cli.main(['models', '--family', 'senetv2', '--shape', '64', '96', '--json', str(path)]) == 0
    out, err = capsys.readouterr()
    assert '[1/1] se_resnet50 at 64x96' in err
    assert counting.COUNTED in out
    line = next(line for line in out.splitlines() if line.split()[:1] == ['se_resnet50'])
    assert line.split()[1:3] == ['SEResNet', f'{PARAMETERS["se_resnet50"]:,}']
    assert line.rstrip().endswith('arXiv 2311.10807') and '…' not in out
    (model,) = json.loads(path.read_text())['models']
    assert model['parameters'] == PARAMETERS['se_resnet50']
    assert model['multiply_adds'] == sum(model['operators'].values())


def test_flops_prints_a_table_by_part(capsys):
    assert cli.main(['flops', f'mmhybrid::{DEMO.stem}', '--shape', '64', '96']) == 0
    out, _ = capsys.readouterr()
    assert 'roi_head.mask_head' in out and 'given 100 proposals' in out


def test_wrong_input_is_one_sentence(tmp_path, capsys, monkeypatch):
    assert 'no config nowhere.py' in refused(capsys, 'flops', 'nowhere.py')
    assert f'did you mean {DEMO.stem}' in refused(capsys, 'flops', f'mmhybrid::{DEMO.stem}s')
    assert '--shape 64 96' in refused(capsys, 'flops', DEMO, '--shape', 50, 96)
    assert 'side of an image' in refused(capsys, 'flops', DEMO, '--shape', 'wide', 96)
    assert 'side of an image' in refused(capsys, 'models', '--shape', 0, 96)
    assert 'no folder' in refused(capsys, 'models', '--json', tmp_path / 'none' / 'models.json')
    (tmp_path / 'data.py').write_text('x = 1')
    assert 'no model' in refused(capsys, 'flops', tmp_path / 'data.py')
    (tmp_path / 'typo.py').write_text("model = dict(type='NoSuchDetector')")
    assert 'cannot be built' in refused(capsys, 'flops', tmp_path / 'typo.py')
    assert 'none.json' in refused(
        capsys, 'occlusion', 'eval', '--ann', 'none.json', '--results', 'none.json', '--out-dir', tmp_path
    )
    monkeypatch.setattr(_stack, 'problem', lambda: 'No torch here.')
    counted = refused(capsys, 'models', '--shape', 64, 96)
    assert counted == refused(capsys, 'flops', DEMO) == 'error: No torch here.'
    assert cli.main(['models', '--family', 'tbc']) == 0  # what was counted before needs none
    assert f'{PARAMETERS["tiedresnet50"]:,}' in capsys.readouterr().out


@pytest.mark.parametrize(
    'command', [[], ['models'], ['flops'], ['occlusion'], ['occlusion', 'eval'], ['data', 'shapes']]
)
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, '--help'])
    assert stop.value.code == 0
    assert f'example:\n  mmhybrid {" ".join(command)}'.rstrip() in capsys.readouterr().out


def test_help_and_version_import_nothing_heavy():
    code = (
        'import sys; from mmhybrid import cli\n'
        'try: cli.main(sys.argv[1:])\n'
        "finally: print(*({'torch', 'mmdet', 'numpy', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    for option, text in (('--help', 'occlusion'), ('--version', 'mmhybrid 0.')):
        done = subprocess.run([sys.executable, '-c', code, option], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and text in done.stdout
        assert not done.stderr.strip()


@pytest.mark.parametrize('name', ['train', 'test', 'predict', 'pretrain'])
@pytest.mark.parametrize('prog', ['mmhybrid {}', 'python tools/{}.py'])
def test_the_tools_are_commands_that_show_how_they_were_called(name, prog, capsys):
    prog = prog.format(name)
    with pytest.raises(SystemExit):
        importlib.import_module(f'mmhybrid.commands.{name}').parse_args(['--help'], prog)
    out, _ = capsys.readouterr()
    assert out.startswith(f'usage: {prog} ') and f'example:\n  {prog} ' in out
    assert cli.build_parser().format_help().count(f'\n    {name} ') == 1
    assert f"main(prog='python tools/{name}.py')" in (ROOT / 'tools' / f'{name}.py').read_text()
