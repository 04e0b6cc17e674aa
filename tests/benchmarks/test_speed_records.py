"""What follows from a record of the speed harness: ratios, targets, and the page."""

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

from speed_bench import (  # noqa: E402
    contestants,
    loan_page,
    pages,
    record,
    sections,
    summary,
    targets,
)


def row(name, mode, seconds, pass_='train', baseline='resnet50', **more):
    return {'name': name, 'baseline': baseline, 'mode': mode, 'pass': pass_, 'seconds': seconds, **more}


def made_up_section(**more):
    rows = [
        row('resnet50', 'eager', [1.0, 2.0, 4.0], kept=200, bound=0.5, flops=8e9, bytes=3e6),
        row('resnet50', 'channels_last', [2.0, 2.0, 2.0], kept=200, bound=0.5, flops=8e9, bytes=3e6),
        row('tiedresnet50', 'eager', [2.0, 3.0, 4.0], kept=100, bound=0.6, flops=9e9, bytes=4e6),
        row('tiedresnet50', 'channels_last', [1.0, 1.0, 5.0], kept=100, bound=0.6, flops=9e9, bytes=4e6),
    ]
    return {
        'rows': rows,
        'notes': [],
        'settings': {'images': [2, 3, 32, 32]},
        'counts': 'made up',
        'peaks': {'flops_per_second': {'float32': 1e11}, 'bytes_per_second': 2e10},
        'command': 'python benchmarks/speed.py backbones',
        'hardware': 'a CPU',
        'date': '2026-01-01',
        'versions': {'torch': '1'},
    } | more


def test_ratios_are_taken_within_a_round():
    section = summary.Section(made_up_section())
    eager = summary.ratio(section.get('tiedresnet50', 'eager', 'train'), section.get('resnet50', 'eager', 'train'))
    assert eager == (1.5, 1.25, 1.75)  # of 2, 1.5 and 1
    best, other = (section.best(name, 'train') for name in ('tiedresnet50', 'resnet50'))
    assert (best['mode'], other['mode']) == ('channels_last', 'eager')  # medians 1 and 3; 2 and 2, the first of equals
    assert summary.ratio(best, other).median == 1.0  # of 1, 0.5 and 1.25
    assert summary.ratio(best, other, 'kept').median == 0.5
    assert summary.ratio(best, None) is None
    assert [r['mode'] for r in section.noisy()] == ['eager']


@pytest.mark.parametrize(('limit', 'verdict'), [(0.99, 'missed'), (1.0, 'met')])
def test_targets_follow_from_the_record(monkeypatch, limit, verdict):
    monkeypatch.setattr(targets, 'TARGETS', (targets.Target('cpu', 'backbones', 'tiedresnet50', 'resnet50', limit),))
    records = {'cpu': {'sections': {'backbones': made_up_section()}}}
    assert f'| 1.00 (0.75 to 1.12) | {verdict} |' in targets.table(records)
    assert '|  | not measured |' in targets.table({})


def test_a_rate_has_to_be_large_and_compares_modes():
    rows = [row('a', 'eager', [3.0], 'forward'), row('a', 'fused+compile', [2.0], 'forward')]
    section = summary.Section({'rows': rows})
    options = dict(pass_='forward', modes=('fused+compile',), other_modes=('eager',))
    target = targets.Target('gpu', 'backbones', 'a', 'a', 1.3, 'rate', **options)
    assert target.measured(section).median == 1.5
    assert target.met(target.measured(section))
    assert not target.met(summary.spread([1.2]))


def test_every_target_names_contestants_that_are_measured():
    from speed_bench import detectors

    names = {'backbones': contestants.BACKBONES, 'detectors': detectors.NAMES}
    assert all({t.name, t.against} <= set(names[t.section]) for t in targets.TARGETS)
    assert all(detectors.config_of(name).is_file() for name in detectors.NAMES)


def test_a_new_section_replaces_only_itself(tmp_path, monkeypatch):
    path, cpu = tmp_path / 'speed_cpu.json', torch.device('cpu')
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 1)
    for section, rows in (('backbones', [{'a': 1}, {'a': 2}]), ('layers', []), ('backbones', [{'a': 3}])):
        record.write_section(path, cpu, section, {'rows': rows, 'notes': []})
    found = record.read(path)
    assert found['device'] == 'cpu'
    assert list(found['sections']) == ['layers', 'backbones']
    assert found['sections']['backbones']['rows'] == [{'a': 3}]


def test_commands_on_record_have_no_path_of_the_machine(tmp_path):
    out = f'--out={tmp_path / "x.json"}'
    found = record.command(['detectors', '--data-root', str(tmp_path / 'coco'), out, '--shape', '2', '3'])
    assert found == 'python benchmarks/speed.py detectors --data-root coco --out=x.json --shape 2 3'


def test_the_page_follows_from_the_records():
    template = (ROOT / 'docs' / 'speed.template.md').read_text()
    kept = [record.read(record.RESULTS / f'speed_{kind}.json') for kind in pages.DEVICES]
    page = pages.render(template, {r['device']: r for r in kept if r}, loan_page.read(record.RESULTS / 'gpu'))
    assert (ROOT / 'docs' / 'speed.md').read_text() == page


def test_the_page_shows_ratios_bounds_and_noise():
    text = pages.content_text(made_up_section(), 'backbones')
    assert '| tiedresnet50 | 3 s, 1.50 (1.25 to 1.75) | 1 s, 0.50 (0.50 to 1.50) | 1.00 (0.75 to 1.12) | 1.20 |' in text
    assert '| 60% | 4.500 | 4.0 | 0.0 |' in text
    assert 'resnet50, eager, training step: the quartiles are 75% apart' in text


def test_latency_is_shown_with_its_quickest_sample_and_what_fusing_brings():
    rows = [
        row('resnet50', 'eager', [0.1, 0.2, 0.3], 'forward'),
        row('tiedresnet50', 'eager', [0.2, 0.3, 0.6], 'forward'),
        row('resnet50', 'fused', [0.1, 0.1, 0.1], 'forward'),
        row('tiedresnet50', 'fused', [0.1, 0.12, 0.15], 'forward'),
    ]
    content = made_up_section(rows=rows)
    text = pages.content_text(content, 'latency')
    assert '| resnet50 | 100 ms | 200 ms |  | 100 ms | 100 ms |  | 0.50 (0.42 to 0.75) |' in text
    cells = '200 ms | 300 ms | 2.00 (1.75 to 2.00) | 100 ms | 120 ms | 1.20 (1.10 to 1.35) | 0.40 (0.33 to 0.45)'
    assert f'| tiedresnet50 | {cells} |' in text
    assert 'Forward pass**' not in text
    one_mode = pages.content_text(made_up_section(rows=rows[:2]), 'latency')
    assert '| resnet50 | 100 ms | 200 ms |  |\n| tiedresnet50 | 200 ms | 300 ms | 2.00 (1.75 to 2.00) |\n' in one_mode
    records = {'cpu': {'sections': {'latency': content}}}
    assert pages.section_text('latency', records) == f'### Latency on one thread of a CPU\n\n{text}'
    assert pages.section_text('latency', {}) == '### Latency on one thread of a CPU\n\nNot measured yet.'


def test_what_was_not_measured_is_one_note_a_mode():
    skipped = {'eager': ['hcgnet_b'], 'bf16': [f'layer {i}' for i in range(34)]}
    assert sections.not_measured(skipped, 58) == [
        'eager: 1 of 58 not measured, no time was left: hcgnet_b',
        'bf16: 34 of 58 not measured, no time was left',
    ]
    for kind in pages.DEVICES:
        for section in record.read(record.RESULTS / f'speed_{kind}.json').get('sections', {}).values():
            assert len(section['notes']) <= 20
