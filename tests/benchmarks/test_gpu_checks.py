"""The checks and measurements of a GPU loan: what they tell, leave out, and keep where their time ends."""

import re
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

from gpu_steps import check_backbones, checks, children, compare, kept, loan, steps  # noqa: E402


def test_a_check_that_raises_is_a_row_and_the_others_go_on(tmp_path):
    def good():
        yield compare.row('float32', 'output', 1e-6, 1e-4)

    def bad():
        yield compare.row('float32', 'output', float('nan'), 1e-4)
        raise RuntimeError(f'illegal memory access in {ROOT}/a.cu')

    checks.run([('bad', bad), ('good', good)], tmp_path / 'a.json', 60)
    rows = kept.read_json(tmp_path / 'a.json')['rows']
    assert [(row['name'], row['ok']) for row in rows] == [('bad', False), ('bad', False), ('good', True)]
    assert rows[0]['error'] == 'not finite' and rows[1]['error'].endswith('illegal memory access in a.cu')
    checks.run([('good', good)], tmp_path / 'b.json', -1)
    assert kept.read_json(tmp_path / 'b.json') == {'rows': [], 'not_reached': ['good']}


def test_of_many_rows_the_worst_stays():
    rows = [
        compare.row('float32', what, error, allowed) for what, error, allowed in (('a', 1e-6, 1), ('b', 1e-6, 1e-5))
    ]
    rows = [{'name': 'nms', **row} for row in (*rows, compare.row('float16', 'a', 0.0, 0.0))]
    assert [(row['what'], row['of']) for row in steps.condensed(rows)] == [('b', 2), ('a', 1)]
    rows.append({'name': 'nms', **compare.row('float32', 'c', float('inf'), 1.0)})
    assert [row['what'] for row in steps.condensed(rows)] == ['c', 'a']


def test_errors_are_relative_and_a_number_that_is_none_never_passes():
    reference = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert compare.error(torch.tensor([3.0, 4.5]), reference) == pytest.approx(0.1)
    assert compare.error(torch.tensor([3.0, float('nan')]), reference) == float('inf')
    assert compare.error(torch.tensor([3.0]), reference) == float('inf')
    assert not compare.row('m', 'w', float('inf'), 1.0)['ok']


def test_an_interrupted_check_keeps_its_rows_and_counts_as_not_reached(tmp_path):
    def good():
        yield compare.row('float32', 'output', 1e-6, 1e-4)

    def slow():
        yield from good()
        # What a child that is killed leaves.
        assert kept.read_json(tmp_path / 'a.json')['not_reached'] == ['slow', 'never']
        raise KeyboardInterrupt

    checks.run([('good', good), ('slow', slow), ('never', good)], tmp_path / 'a.json', 60)
    found = kept.read_json(tmp_path / 'a.json')
    assert [row['name'] for row in found['rows']] == ['good', 'slow']
    assert found['not_reached'] == ['slow', 'never']


def test_shallow_backbones_are_checked_and_the_first_of_each_family_before_the_others():
    names = [name for name, _ in check_backbones.checks(torch.device('cpu'), False)]
    assert tuple(names[: len(check_backbones.FIRST)]) == check_backbones.FIRST
    assert len(names) == len(set(names)) and {'tiedresnet50_s', 'hcgnet_a1', 'sae_resnet18'} <= set(names)
    assert not [name for name in names if re.search('101|152|200', name)]
    assert not {'hcgnet_c', 'hcgnet_a2', 'hcgnet_a3'} & set(names)


@pytest.mark.parametrize('wrong', [[], ['3-backbones ended with 1:']])
def test_a_child_out_of_time_has_checks_left_and_one_that_broke_failed(tmp_path, monkeypatch, wrong):
    def run(commands, logs, seconds, jobs):
        for child in commands:
            words = [str(word) for word in child.words]
            assert float(words[words.index('--seconds') + 1]) == seconds - steps.CHECK_STARTS - steps.CHECK_TAKES
        row = {'name': 'nms', **compare.row('float32', 'output', 0.0, 1.0)}
        for child in commands[:-1]:  # the last one is ended before its first check
            out = child.words[child.words.index('--out') + 1]
            kept.write_json(out, {'rows': [row], 'not_reached': ['b'] if child is commands[-2] else []})
        raise children.ChildFailed(wrong, ['5-backbones took longer than 140 s:\nKeyboardInterrupt'])

    monkeypatch.setattr(children, 'run', run)
    given = loan.Context(tmp_path, tmp_path, None, 'cuda', small=False, seconds=140.0)
    found = steps.operators(given)
    assert found['checks'] == 5 and found['failed'] == wrong
    assert found['not_reached'] == ['b', 'all of 5-backbones']
    loan.Loan(given, {}, tmp_path / 'all.tar.gz', lambda text: None, time.monotonic).do(
        [loan.Step('operators', 10, 100, lambda context: found)]
    )
    assert kept.read_json(tmp_path / 'gpu' / 'operators.json')['status'] == ('failed' if wrong else 'partial')


def test_modes_without_time_are_left_for_a_later_call(tmp_path, monkeypatch):
    note = 'eager: 9 of 10 not measured, no time was left'

    def run(commands, logs, seconds):
        (child,) = commands
        assert child.words[child.words.index('--minutes') + 1] == '6.00' and '--iterations' in child.words
        content = {'rows': [{'seconds': [1.0, 2.0]}], 'notes': [note, 'a, amp: failed']}
        kept.write_json(tmp_path / 'speed_gpu.json', {'sections': {'detectors': content}})

    monkeypatch.setattr(children, 'run', run)
    found = steps.speed('detectors', loan.Context(tmp_path, tmp_path, None, 'cuda', small=False, seconds=400.0))
    assert (found['rounds'], found['left'], found['failed']) == ([2], [note], [])
