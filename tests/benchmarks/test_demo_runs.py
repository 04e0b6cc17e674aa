"""The record of the demo's runs, what the demo says of it, and what README prints of it."""

import json
import re
import sys
from subprocess import PIPE, Popen

import numpy as np
import pytest

from tests.benchmarks.study_runs import ROOT

import demo_runs as benchmark  # isort: skip
from tools import demo

RECORD = json.loads(benchmark.EXPECTED.read_text())
RUNS = RECORD['runs']
README = (ROOT / 'README.md').read_text()


def occlusion_json(folder, ap):
    """What the demo writes, of AP by kind and stratum."""
    results = [
        {
            'iou_type': kind,
            'strata': [
                {'name': name, 'kind': 'all' if name == 'all' else 'bin', 'num_images': 50, 'ap': value}
                for name, value in strata.items()
                if '>=' not in name
            ]
            + [{'name': '0.9 < r <= 1', 'kind': 'bin', 'num_images': 0, 'ap': float('nan')}],
        }
        for kind, strata in ap.items()
    ]
    folder.mkdir()
    (folder / 'occlusion.json').write_text(json.dumps({'results': results}))


def test_the_record_is_of_the_runs_that_the_script_makes():
    assert [row['name'] for row in RUNS['runs']] == list(benchmark.RUNS)
    assert len(RUNS['runs']) >= 5
    assert {row['threads'] for row in RUNS['runs']} >= {1, 2}


def test_headlines_and_ranges_follow_from_the_strata(tmp_path):
    for row in RUNS['runs']:
        occlusion_json(tmp_path / row['name'], RUNS['ap'][row['name']])
        found = benchmark.headlines(tmp_path / row['name'])
        assert found == pytest.approx(row['headlines'], abs=1.1e-4)
    for name, bounds in RUNS['expected'].items():
        assert benchmark.expected([row['headlines'][name] for row in RUNS['runs']]) == pytest.approx(bounds)


def test_a_further_value_lies_in_its_range_as_often_as_is_said():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(4000):
        *values, further = rng.normal(0.2, 0.01, 8)
        low, high = benchmark.expected(values)
        inside += low <= further <= high
    assert inside / 4000 == pytest.approx(benchmark.CHANCE, abs=0.005)


def test_the_demo_says_whether_its_numbers_are_those_to_expect(tmp_path, capsys):
    ap = RUNS['ap'][benchmark.FIRST]
    occlusion_json(tmp_path / 'same', ap)
    demo.compare(tmp_path / 'same')
    assert 'All lie where' in capsys.readouterr().out
    # Half of everything: no AP is where it should be.
    occlusion_json(tmp_path / 'other', {k: {n: v / 2 for n, v in strata.items()} for k, strata in ap.items()})
    demo.compare(tmp_path / 'other')
    said = capsys.readouterr().out
    assert re.search(r'box AP, all images +\d+\.\d +\d+\.\d to \d+\.\d +outside', said)
    assert 'another version of torch, or a fault' in ' '.join(said.split())


def test_readme_prints_what_was_measured():
    assert f'{benchmark.BEGIN}\n{benchmark.section(RECORD)}\n{benchmark.END}' in README
    # The three lines at its head.
    table = [line for line in RUNS['printed'] if line.startswith(('stratum ', 'all ', 'r = 0 ', '0.8 < r '))][:4]
    assert '\n'.join(table) in README


def test_the_page_on_training_has_the_measured_seconds():
    page = (ROOT / 'docs' / 'training.md').read_text()
    for row in RECORD['speed']['rows']:
        if row['threads'] != benchmark.FIRST:
            assert f' {row["iteration_s"]:.2f} ' in page, row


def test_a_step_that_says_nothing_is_told_to_be_at_work(monkeypatch):
    monkeypatch.setattr(demo, 'SILENCE', 0.2)
    code = "import time; print('one', flush=True); time.sleep(0.7); print('two')"
    with Popen([sys.executable, '-c', code], stdout=PIPE, text=True) as process:
        found = list(demo.lines(process))
    said = [line for line in found if line is not None]
    assert said == ['one\n', 'two\n']
    between = found[found.index('one\n') : found.index('two\n')]
    assert 2 <= between.count(None) <= 4
