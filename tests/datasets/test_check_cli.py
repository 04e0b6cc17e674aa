"""The command ``mmhybrid data check``: its output, exit status, files, and what it says of wrong input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmhybrid import cli
from mmhybrid.datasets.check import KINDS

from . import faulty

REPO = Path(__file__).resolve().parents[2]
CONFIG = """
default_scope = 'mmdet'
data_root = {root!r}
classes = {classes!r}
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask={masks})]
train_dataloader = dict(
    dataset=dict(
        type='RepeatDataset', times=2,
        dataset=dict(
            type='CocoDataset', data_root=data_root, ann_file='annotations.json', data_prefix=dict(img='images/'),
            metainfo=dict(classes=classes), pipeline=pipeline,
        ),
    ),
)
model = dict(roi_head=dict(bbox_head=[dict(num_classes=3)] * 3, mask_head=dict(num_classes={mask_classes})))
"""


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return faulty.write(tmp_path_factory.mktemp('faulty'))


@pytest.fixture(scope='module')
def sound(tmp_path_factory):
    return faulty.write(tmp_path_factory.mktemp('sound'), faulty.sound())


@pytest.fixture
def run(capsys):
    def call(*words, command='check'):
        try:
            status = cli.main(['data', command, *map(str, words)])
        except SystemExit as stop:
            status = stop.code
        out, err = capsys.readouterr()
        assert 'Traceback' not in out + err
        return status, out, err

    return call


def inputs(data):
    return '--ann', data[0], '--images', data[1]


def config(path, data, classes=faulty.CATEGORIES, mask_classes=3, masks=True):
    root = str(data[0].parent)
    path.write_text(CONFIG.format(root=root, classes=classes, mask_classes=mask_classes, masks=masks))
    return path


def test_a_sound_set(run, sound):
    status, out, err = run(*inputs(sound), '--classes', *faulty.CATEGORIES)
    assert status == 0
    assert '2 images, 4 annotations, 3 categories; 2 images opened' in out
    assert 'by occlusion ratio r (covered, bbox)' in out
    assert out.rstrip().endswith('Nothing is wrong.')
    assert 'images: 2 of 2' in err


def test_each_kind_is_told_with_count_and_examples(run, data, tmp_path):
    out_file = tmp_path / 'findings.json'
    status, out, _ = run(*inputs(data), '--classes', *faulty.CLASSES, '--json', out_file)
    assert status == 1
    expected = faulty.RECORDS | faulty.CLASSWISE | faulty.MASKS | faulty.FILES
    lines = out.splitlines()
    for kind, count in expected.items():
        line = f'{KINDS[kind].severity:8}{KINDS[kind].title}: {count} ({kind})'
        index = lines.index(line)
        assert lines[index + 1].startswith(f'        MMDetection {KINDS[kind].effect}')
        assert lines[index + 2].startswith('          ')
    assert 'MMDetection leaves out 7 of the annotations in silence' in out
    severities = [line.split()[0] for line in lines if line.startswith(('error ', 'warning '))]
    assert severities == sorted(severities)  # errors first
    document = json.loads(out_file.read_text())
    (report,) = document['data_sets']
    assert {each['kind']: each['count'] for each in report['findings']} == expected
    assert f'wrote {out_file}' in out


def test_examples_end_after_five(run, tmp_path):
    document = faulty.sound(per_image=8)
    for row in document['annotations']:
        row['area'] = 0
    document['annotations'][0]['area'] = 9
    _, out, _ = run(*inputs(faulty.write(tmp_path, document)))
    index = out.splitlines().index('warning annotations whose area is not above 0: 15 (area-not-positive)')
    assert out.splitlines()[index + 7] == '          and 10 more'


def test_json_is_not_written_over_what_is_not_ours(run, sound, tmp_path):
    theirs = tmp_path / 'theirs.json'
    theirs.write_text('{"mine": 1}')
    status, _, err = run(*inputs(sound), '--json', theirs)
    assert status == 2 and 'not written by this command' in err and theirs.read_text() == '{"mine": 1}'
    status, _, err = run(*inputs(sound), '--json', sound[0], '--force')
    assert status == 2 and 'is an input of this run' in err
    assert run(*inputs(sound), '--json', theirs, '--force')[0] == 0
    assert run(*inputs(sound), '--json', theirs)[0] == 0  # ours now


def test_allowed_errors_are_warnings(run, tmp_path):
    document = faulty.sound()
    data = faulty.write(tmp_path, document)
    words = (*inputs(data), '--classes', 'person', 'car', 'dog', 'cat')
    assert run(*words)[0] == 1
    status, out, _ = run(*words, '--allow', 'class-missing')
    assert status == 0 and 'warning classes of the config that the file does not list: 1 (class-missing)' in out


def test_a_config_names_its_data(run, sound, tmp_path):
    path = config(tmp_path / 'config.py', sound)
    status, out, _ = run(path)
    assert status == 0
    assert f'train_dataloader.dataset.dataset: {sound[0]}' in out and '2 images opened' in out
    status, out, _ = run(config(path, sound, mask_classes=80))
    assert status == 1 and 'roi_head.mask_head has 80, train_dataloader.dataset.dataset has 3' in out
    status, out, _ = run(path, '--allow', 'head-classes')
    assert status == 0
    status, out, _ = run(config(path, sound, masks=False))
    assert status == 1 and '(masks-not-loaded)' in out
    status, out, _ = run(config(path, sound, classes=faulty.CATEGORIES[::-1]))
    assert status == 1 and "'person' is trained as 'dog'" in out
    status, out, _ = run(*inputs(sound), '--config', path)
    assert status == 1 and "'person' is trained as 'dog'" in out


def test_wrong_input_is_one_sentence(run, sound, tmp_path):
    config_file = config(tmp_path / 'config.py', sound)
    (tmp_path / 'empty.py').write_text('x = 1')
    (tmp_path / 'broken.json').write_text('{')
    for words, sentence in (
        ((), 'nothing to check'),
        (('nowhere.py',), 'no config nowhere.py'),
        ((tmp_path / 'empty.py',), 'no data set'),
        ((config_file, '--ann', 'x'), '--ann cannot apply'),
        (('--ann', 'nowhere.json'), 'nowhere.json: no such file'),
        (('--ann', tmp_path), 'cannot be read'),
        (('--ann', tmp_path / 'broken.json'), 'not valid JSON'),
        (('--ann', sound[0], '--images', 'nowhere'), 'is no folder'),
        (('--ann', sound[0], '--sample', '3'), 'give --images'),
        ((*inputs(sound), '--sample', '0'), 'no number from 1'),
        ((*inputs(sound), '--cfg-options', 'a=1'), 'changes a config'),
        ((*inputs(sound), '--classes', 'a', '--config', config_file), 'not allowed with'),
        ((*inputs(sound), '--json', tmp_path / 'broken.json' / 'x.json'), 'is no folder'),
    ):
        status, out, err = run(*words)
        assert status == 2 and not out
        errors = [line for line in err.splitlines() if line.startswith('error: ')]
        assert len(errors) == 1 and errors[0] == err.splitlines()[-1] and sentence in errors[0], err


def test_names_cannot_steer_the_terminal(run, tmp_path):
    document = faulty.sound()
    document['images'][0]['file_name'] = 'a\x1b[31m\n\u202e[bold]b.jpg'
    document['categories'][0]['name'] = '[red]пешеход\x1b]0;'
    status, out, _ = run(*inputs(faulty.write(tmp_path, document)))
    assert status == 1
    assert '[bold]b.jpg' in out and '[red]пешеход' in out
    assert not set(out) & {'\x1b', '\u202e', '\r'}


def test_help_has_examples_and_is_quick_to_import():
    code = (
        'import sys; from mmhybrid import cli\n'
        'try: cli.main(sys.argv[1:])\n'
        "finally: print(*({'torch', 'mmdet', 'mmengine', 'cv2'} & set(sys.modules)), file=sys.stderr)"
    )
    words = [sys.executable, '-c', code, 'data', '--help']
    done = subprocess.run(words, capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0 and not done.stderr.strip()
    assert 'example:\n  mmhybrid data check --ann' in done.stdout


def test_a_reader_that_has_seen_enough_is_no_error(data):
    command = [sys.executable, '-m', 'mmhybrid.cli', 'data', 'check', *map(str, inputs(data))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPO) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0
    assert 'Traceback' not in err and 'Broken pipe' not in err
