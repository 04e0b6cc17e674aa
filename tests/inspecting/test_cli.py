"""``mmhybrid inspect``: what all kinds share, and what it says of wrong input."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhybrid import cli as command
from mmhybrid import figure_style as style
from mmhybrid.inspecting import cli, findings
from mmhybrid.inspecting.analyses import cka
from mmhybrid.inspecting.findings import Findings, Table
from mmhybrid.inspecting.kinds import KINDS


@pytest.fixture
def inspect(two_stage, tmp_path, monkeypatch):
    """Run ``mmhybrid inspect cka`` on the small detector, with findings that cost nothing; what it wrote, by name."""

    def run(subjects, samples, args):
        with style.drawing():
            plot = style.new_figure(2, 2)
            plot.subplots()
            style.settle(plot)
        numbers = {'names': [each.name for each in subjects], 'values': np.array([1.0, math.nan])}
        return Findings(['It is so.'], 'Look.', numbers, {'': plot, 'more': plot}, [Table('t', ['a'], [['1']])], ['!'])

    monkeypatch.setattr(cka, 'run', run)

    def make(*words, model=two_stage, out=tmp_path / 'out'):
        words = ['cka', *model, '--out-dir', str(out), '--device', 'cpu', *map(str, words)]
        assert cli.main(words) == 0
        return {path.name: path for path in out.iterdir()}

    return make


def refused(capsys, *words):
    """The sentence that a run ends with."""
    try:
        status = command.main(['inspect', *map(str, words)])
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2
    assert not out.startswith('wrote')
    last = err.splitlines()[-1]
    assert last.startswith('error: ')
    assert last.endswith(('.', 'lists the options.'))
    assert 'Traceback' not in err
    return last


def test_help_of_every_kind_needs_no_torch():
    code = f"""
import sys
from mmhybrid import cli
for words in [['--help'], *([kind, '--help'] for kind in {[*KINDS, 'gallery']})]:
    try:
        cli.main(['inspect', *words])
    except SystemExit as stop:
        assert not stop.code, words
print(*({{'torch', 'mmdet', 'mmengine', 'numpy', 'matplotlib', 'jinja2', 'PIL'}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ''
    assert done.stdout.count('\n  --versus MODEL') == len(KINDS)
    for name, kind in KINDS.items():
        assert f'mmhybrid inspect {kind.example}' in done.stdout
        assert kind.example.split()[0] == name
        assert kind.help in ' '.join(done.stdout.split())


@pytest.mark.parametrize('kind', KINDS)
def test_options_are_the_same_everywhere(kind):
    words = [kind, 'a.py', 'a.pth', '--versus', 'b.py', '--versus', 'c.py', 'c.pth', '--name', 'a', 'b', 'c']
    words += ['--out-dir', 'x', '--format', 'png', '--seed', '3', '--device', 'cpu', '--force']
    args = cli.build_parser().parse_args(words)
    assert [args.model, *args.versus] == [['a.py', 'a.pth'], ['b.py'], ['c.py', 'c.pth']]
    assert (args.kind, args.seed, args.out_dir, args.format, args.images) == (kind, 3, Path('x'), ['png'], [])
    if KINDS[kind].images:
        args = cli.build_parser().parse_args([kind, 'a.py', '--limit', '5', '--batch-size', '2'])
        assert (args.limit, args.batch_size) == (5, 2)


def test_words_that_name_no_model_are_told(two_stage, one_stage, data_root, tmp_path, capsys):
    config, checkpoint = two_stage
    assert 'two words, and these are 3' in refused(capsys, 'cka', config, checkpoint, 'more.pth')
    assert 'two words, and these are 3' in refused(capsys, 'cka', config, '--versus', *one_stage, 'x')
    assert '1 names to 2 models' in refused(capsys, 'cka', config, '--versus', *one_stage, '--name', 'a')
    same = refused(capsys, 'cka', config, '--versus', *one_stage, '--name', 'a', 'a')
    assert 'the same name' in same
    assert 'an empty name' in refused(capsys, 'cka', config, '--name', ' ')
    assert 'no whole number from 0' in refused(capsys, 'cka', config, '--seed', '-1')
    assert 'There is no config nowhere.py' in refused(capsys, 'cka', 'nowhere.py', '--out-dir', tmp_path)
    assert 'There is no checkpoint x.pth' in refused(capsys, 'cka', config, 'x.pth', '--out-dir', tmp_path)
    assert 'neither a config file' in refused(capsys, 'cka', 'resnet5000', '--out-dir', tmp_path)
    assert 'There is no config mmhybrid::nope' in refused(capsys, 'cka', 'mmhybrid::nope', '--out-dir', tmp_path)
    (tmp_path / 'none.py').write_text('x = 1')
    assert 'nothing to look at' in refused(capsys, 'cka', tmp_path / 'none.py', '--out-dir', tmp_path)
    assert 'invalid choice' in refused(capsys, 'dream', config)
    assert not list(tmp_path.glob('cka*'))


def test_images_that_are_not_there_are_told(two_stage, data_root, tmp_path, capsys):
    backbone = ['tiedresnet50', '--out-dir', tmp_path, '--device', 'cpu']
    assert 'name pictures with --images' in refused(capsys, 'cka', *backbone)
    assert 'has no annotated images' in refused(capsys, 'fgsm', *backbone)
    assert 'is no file, folder or pattern' in refused(capsys, 'cka', *backbone, '--images', tmp_path / 'none')
    (tmp_path / 'film.mp4').write_text('')
    assert 'names videos alone' in refused(capsys, 'cka', *backbone, '--images', tmp_path / 'film.mp4')
    assert 'unrecognized arguments: --images' in refused(capsys, 'fgsm', *backbone, '--images', data_root / 'val')
    assert 'is no number from 1' in refused(capsys, 'cka', *backbone, '--limit', '0')
    nowhere = f'data_root={tmp_path}/nowhere/'
    assert 'nowhere' in refused(capsys, 'cka', *two_stage, '--out-dir', tmp_path, '--cfg-options', nowhere)
    assert '--device' in refused(capsys, 'cka', *two_stage, '--out-dir', tmp_path, '--device', 'abacus')


def test_a_place_that_cannot_be_written_is_told_before_work(two_stage, tmp_path, capsys, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr(cli._stack, 'require', lambda: pytest.fail('work began'))
    assert 'no folder to write in' in refused(capsys, 'cka', *two_stage, '--out-dir', tmp_path / 'file' / 'in')
    (tmp_path / 'cka.json').write_text('{}')
    assert 'was not written by this command' in refused(capsys, 'cka', *two_stage, '--out-dir', tmp_path)
    assert (tmp_path / 'cka.json').read_text() == '{}'
    folder = tmp_path / 'in'
    (folder / 'cka.json').mkdir(parents=True)
    assert 'is no regular file' in refused(capsys, 'cka', *two_stage, '--out-dir', folder, '--force')


def test_files_of_others_are_kept_and_own_ones_are_written_again(inspect, tmp_path, capsys):
    files = inspect()
    assert set(files) == {'cka.json', 'cka.png', 'cka.svg', 'cka_more.png', 'cka_more.svg'}
    before = {name: path.read_bytes() for name, path in files.items() if name != 'cka.json'}
    assert before == {name: path.read_bytes() for name, path in inspect().items() if name != 'cka.json'}
    files['cka.png'].write_text('mine')
    with pytest.raises(ValueError, match='was not written by this command'):
        inspect()
    assert files['cka.png'].read_text() == 'mine'
    assert inspect('--force')['cka.png'].read_bytes() == before['cka.png']


def test_figures_of_an_earlier_run_do_not_stay_beside_other_numbers(inspect, tmp_path, capsys):
    folder = tmp_path / 'out'
    inspect()
    (folder / 'cka_mine.svg').write_text('not named in the JSON')
    (folder / 'cka_more.svg').write_text('mine')  # named there, and not ours any more
    (folder / 'cka_mine.svg').rename(folder / 'mine.svg')
    capsys.readouterr()
    assert set(inspect('--format', 'png')) == {'cka.json', 'cka.png', 'cka_more.png', 'cka_more.svg', 'mine.svg'}
    assert f'removed {folder / "cka.svg"}, a figure of an earlier run' in capsys.readouterr().out


def test_a_figure_of_others_is_told_before_work_and_nothing_is_written(
    inspect, two_stage, tmp_path, capsys, monkeypatch
):
    folder = tmp_path / 'out'
    inspect('--format', 'png')
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / 'cka.svg').write_text('mine')
    monkeypatch.setattr(cli._stack, 'require', lambda: pytest.fail('work began'))
    assert 'cka.svg: exists and was not written' in refused(capsys, 'cka', *two_stage, '--out-dir', folder)
    assert {**before, 'cka.svg': b'mine'} == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_gallery_overwrites_no_findings_and_no_reports(inspect, tmp_path, capsys):
    folder = tmp_path / 'out'
    files = inspect()
    for name in ('cka.json', 'cka.png', 'page.txt'):
        assert 'its name end in .html' in refused(capsys, 'gallery', folder, '--out', folder / name)
    report = folder / 'report.html'
    report.write_text('<!DOCTYPE html>\n<meta name="generator" content="mmhybrid 1">')
    assert 'was not written by this command' in refused(capsys, 'gallery', folder, '--out', report)
    assert 'There is no folder' in refused(capsys, 'gallery', files['cka.json'])
    assert [cli.main(['gallery', str(folder)]) for _ in range(2)] == [0, 0]


def test_weights_that_are_no_numbers_are_told(two_stage, tmp_path, capsys):
    checkpoint = torch.load(two_stage.checkpoint, weights_only=True)
    checkpoint['state_dict']['backbone.layer1.0.conv1.weight'][0, 0] = math.nan
    torch.save(checkpoint, tmp_path / 'nan.pth')
    said = refused(capsys, 'gates', two_stage.config, tmp_path / 'nan.pth', '--out-dir', tmp_path)
    assert 'tensors hold NaN or infinity, the first is backbone.layer1.0.conv1.weight' in said


def test_a_picture_that_cannot_be_read_is_told(two_stage, tmp_path, capsys):
    (tmp_path / 'broken.jpg').write_bytes(b'no picture')
    said = refused(capsys, 'cam', *two_stage, '--out-dir', tmp_path, '--images', tmp_path / 'broken.jpg')
    assert 'broken.jpg' in said and said.endswith('give another picture.') and 'annotations' not in said


def test_png_alone(inspect, tmp_path):
    files = inspect('--format', 'png')
    assert set(files) == {'cka.json', 'cka.png', 'cka_more.png'}
    assert json.loads(files['cka.json'].read_text())['figures'] == [['cka.png'], ['cka_more.png']]


def test_json_tells_what_was_done(inspect, two_stage, capsys):
    files = inspect('--versus', *two_stage, '--limit', '5', '--seed', '7')
    document = json.loads(files['cka.json'].read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (document['schema'], document['schema_version'], document['kind']) == ('mmhybrid.inspect', 1, 'cka')
    assert document['command'].startswith(f'mmhybrid inspect cka {two_stage.config} ')
    assert document['command'].endswith('--limit 5 --seed 7')
    first, second = document['models']
    assert first == {
        'name': 'mask_rcnn', 'given': two_stage.config, 'checkpoint': two_stage.checkpoint, 'kind': 'detector',
        'model': 'MaskRCNN', 'backbone': 'ResNet',
    }  # fmt: skip
    assert second == {**first, 'name': 'mask_rcnn (2)'}  # equal configs are told apart
    assert document['numbers'] == {'names': ['mask_rcnn', 'mask_rcnn (2)'], 'values': [1.0, None]}
    assert (document['seed'], document['device'], len(document['images'])) == (7, 'cpu', 5)
    assert all(name.endswith('.jpg') and '/' not in name for name in document['images'])
    assert document['seconds'] > 0
    assert (document['answer'], document['about'], document['notes']) == (['It is so.'], 'Look.', ['!'])
    assert document['tables'] == [{'title': 't', 'columns': ['a'], 'rows': [['1']]}]
    out, err = capsys.readouterr()
    assert 'It is so.' in out
    assert 'note: !' in err
    assert f'mask_rcnn (2): MaskRCNN with ResNet, {two_stage.checkpoint}' in err
    assert out.splitlines()[-1].startswith('wrote ')


def test_pictures_that_were_named_are_looked_at(inspect, data_root):
    document = json.loads(inspect('--images', data_root / 'train', '--limit', '2')['cka.json'].read_text())
    assert len(document['images']) == 4  # the limit is of the data set


def test_a_command_line_with_spaces_can_be_run_again(inspect, data_root):
    document = json.loads(inspect('--name', 'my model; rm')['cka.json'].read_text())
    assert document['command'].endswith("--name 'my model; rm'")


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (np.array([1.0, math.nan, math.inf, -math.inf]), [1.0, None, None, None]),
        (torch.tensor([[1, 2]], dtype=torch.int16), [[1, 2]]),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (np.float32(0.1), 0.1),
        (np.float32('nan'), None),
        (math.inf, None),
        (1 / 3, 0.3333333),
        (123456789, 123456789),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ({1: (None, True), 'a': {'b': np.zeros((2, 0))}}, {'1': [None, True], 'a': {'b': [[], []]}}),
        (Path('a') / 'b', str(Path('a') / 'b')),
        ([torch.tensor([math.nan])], [[None]]),
    ],
)
def test_numbers_are_plain_in_json(value, expected):
    found = findings.plain(value)
    assert found == expected
    assert type(found) is type(expected)
    assert json.loads(findings.to_json({'x': value}), parse_constant=pytest.fail) == {'x': expected}
