"""What docs/speed.md says of a GPU agrees with the records, the words of its template too."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

from speed_bench import loan_page, record, summary  # noqa: E402

PAGE = (ROOT / 'docs' / 'speed.md').read_text()
STEPS = loan_page.read(record.RESULTS / 'gpu')
SECTIONS = record.read(record.RESULTS / 'speed_gpu.json')['sections']


def made_up_step(images_per_second=16.0, options=('--amp',), **more):
    result = {'config': 'configs/a_config.py', 'options': list(options), 'iterations': 10, 'batch': 8}
    result |= {'images_per_second': images_per_second, 'seconds': 0.5, 'memory_mib': 12000} | more
    hardware, versions = {'device': 'a card', 'cores': 16}, {'torch': '2', 'mmcv': '2', 'mmdet': '3'}
    return {'hardware': hardware, 'versions': versions, 'date': '2026-01-01', 'result': result}


def test_commands_are_told_by_precision():
    steps = {
        'nccl': made_up_step(9.0),
        'train': made_up_step(),
        'train_bf16': made_up_step(20.0, ['--amp', 'optim_wrapper.dtype=bfloat16'], memory_mib=6000),
        'train_fp32': made_up_step(10.0, []),
        'cascade': {'result': {'failed': ['x']}},
    }
    lines = loan_page.commands(steps).splitlines()
    assert lines[0] == 'a card, 16 cores; 2026-01-01; torch 2, mmcv 2, mmdet 3.'
    assert lines[4] == '| `a_config` | float16 | 8 | 10 | 16.00 | 0.500 | 12,000 |'
    assert [line.split(' | ')[1] for line in lines[4:]] == ['float16', 'bfloat16', 'float32', 'float16']
    assert lines[-1].startswith('| `a_config`, `torchrun`, NCCL | float16 | 8 | 10 | 9.00 |')
    assert 'bfloat16 takes 0.50 of the memory and has 2.00 of the rate' in loan_page.precisions_text(steps)
    assert loan_page.text('commands', {}, {}) == loan_page.text('rates', {}, {}) == 'Not measured yet.'


@pytest.mark.parametrize('name', loan_page.trained(STEPS))
def test_each_command_on_record_is_on_the_page(name):
    result = STEPS[name]['result']
    cells = f'| {result["images_per_second"]:.2f} | {result["seconds"]:.3f} | {result["memory_mib"]:,} |'
    assert cells in PAGE and f'| `{Path(result["config"]).stem}`' in PAGE
    assert result['batch'] / result['seconds'] == pytest.approx(result['images_per_second'], rel=1e-2)


def test_rates_are_ratios_within_a_round():
    def row(name, seconds):
        return {'name': name, 'baseline': 'resnet50', 'mode': 'amp', 'pass': 'train', 'seconds': seconds}

    section = summary.Section({'rows': [row('resnet50', [1.0, 2.0, 3.0]), row('a', [2.0, 2.0, 4.0])]})
    assert loan_page.rates(section) == {'a': 0.75}
    found = loan_page.rates(summary.Section(SECTIONS['detectors']))
    assert all(f'`{name}` {rate:.2f}' in PAGE for name, rate in found.items())


def test_the_words_of_the_page_hold_for_the_records():
    """Where one fails after measuring anew, the words of docs/speed.template.md have to change."""
    assert max(loan_page.rates(summary.Section(SECTIONS['detectors'])).values()) < 1
    pairs = loan_page.convolutions(summary.Section(SECTIONS['layers']))
    assert len(pairs) == 12
    # What takes the time is not what the bounds count: far from them, and not shorter with less to do.
    assert all(loan_page.share(row) < 0.25 for pair in pairs for row in pair)
    least = [(row, base) for row, base in pairs if ', B = 8,' in row['name']]
    assert all(row['flops'] * 8 == base['flops'] and row['bound'] < base['bound'] for row, base in least)
    assert all(loan_page.seconds(row) > 0.9 * loan_page.seconds(base) for row, base in least)
    # Half precision hardly changes the rate.
    rate = {name: STEPS[name]['result']['images_per_second'] for name in ('train', 'train_bf16', 'train_fp32')}
    assert all(0.85 < rate[name] / rate['train_fp32'] < 1.15 for name in ('train', 'train_bf16'))


def test_what_the_first_run_found_is_told_until_it_is_run_again():
    assert loan_page.checks_text(STEPS) in PAGE
    rows = [{'name': 'nms', 'ok': True}, {'name': 'a', 'ok': False, 'error': 0.1}]
    again = {'operators': {'result': {'checks': 1234, 'rows': rows, 'not_reached': ['b'], 'failed': []}}}
    told = loan_page.checks_text(STEPS | again)
    assert told.startswith('Of 1,234 comparisons') and '1 were beyond what is allowed; 1 checks' in told
    if any(loan_page.MENDED in str(row.get('error')) for row in STEPS['operators']['result']['rows']):
        after = STEPS['layers_after_mending']['result']
        assert all(row['ok'] for row in after['rows']) and after['failed'] == []
        assert f'{after["checks"]:,} comparisons' in PAGE
        # None of the others that were beyond their limits is among those that were checked again.
        wrong = {row['name'] for row in STEPS['operators']['result']['rows'] if not row['ok']}
        wrong -= {name for name in wrong if 'fixed statistics' in name}
        assert len(wrong) == 5 and not wrong & {row['name'] for row in after['rows']}
