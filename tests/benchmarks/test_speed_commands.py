"""Tiny runs of the speed harness, from command to page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

import speed  # noqa: E402
from speed_bench import loan_page, pages, record  # noqa: E402


def run(*words, folder):
    env = {**os.environ, 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, str(ROOT / 'benchmarks' / 'speed.py'), *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)


TINY = {
    'layers': ('--names', 'SMG, 368', '--shape', 2, 3, 32, 32, '--min-seconds', 0),
    'backbones': ('--names', 'se_resnet50', '--shape', 2, 3, 32, 32, '--min-seconds', 0),
    'latency': ('--names', 'se_resnet50', '--shape', 1, 3, 32, 32, '--min-seconds', 0),
    'detectors': (
        *('--names', 'tiedresnet50_s', '--shape', 2, 3, 64, 64, '--batch-size', 1, '--work-dir', 'work'),
        *('--cfg-options', 'model.train_cfg.rcnn.sampler.num=8', 'model.train_cfg.rpn_proposal.max_per_img=8'),
    ),
}


@pytest.mark.parametrize(
    'section', [pytest.param(name, marks=[pytest.mark.slow] * (name != 'backbones')) for name in TINY]
)
def test_a_section_from_command_to_page(section, tmp_path, monkeypatch):
    out = tmp_path / 'speed.json'
    words = [section, *TINY[section], '--modes', 'eager', '--rounds', 1, '--device', 'cpu', '--out', out]
    if section == 'backbones':  # in this process, which has imported most of it
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', ['speed.py', *map(str, words)])
        speed.main()
    else:
        done = run(*words, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    content = json.loads(out.read_text())['sections'][section]
    assert content['notes'] == []
    assert str(tmp_path) not in out.read_text()
    names = {row['name'] for row in content['rows']}
    assert len(names) == {'layers': 2, 'backbones': 2, 'latency': 2, 'detectors': 1}[section]
    passes = {'detectors': {'train'}, 'latency': {'forward'}}.get(section, {'forward', 'train'})
    assert {row['pass'] for row in content['rows']} == passes
    assert all(len(row['seconds']) == 1 and row['seconds'][0] > 0 for row in content['rows'])
    assert all(row['kept'] > 0 for row in content['rows'] if row['pass'] == 'train')
    page = tmp_path / 'page.md'
    template = (ROOT / 'docs' / 'speed.template.md').read_text()
    pages_out = pages.render(template, {'cpu': record.read(out)}, loan_page.read(record.RESULTS / 'gpu'))
    speed.render(speed.make_parser().parse_args(['render', '--records', str(out), '--out', str(page)]))
    assert page.read_text() == pages_out
    assert all(f'| {name} |' in pages_out for name in names)
    assert '{{' not in pages_out
