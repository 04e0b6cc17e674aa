"""The speed harness: turns, clocks, modes, and what is noted."""

import dataclasses
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhybrid.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

import speed  # noqa: E402
from speed_bench import (  # noqa: E402
    contestants,
    memory,
    modes,
    record,
    roofline,
    sections,
    timing,
)


class FakeClock:
    """Takes a call's return value for its seconds, and notes the order."""

    counts = 'made up'

    def __init__(self):
        self.order = []

    def measure(self, call, repeats):
        key, seconds = call()
        self.order.append(key)
        return timing.Sample(seconds, 2 * seconds)


def fake_groups(*sizes):
    return {g: {(g, i): (lambda g=g, i=i: ((g, i), i + 1.0), 1) for i in range(n)} for g, n in enumerate(sizes)}


def test_all_take_turns_in_every_round_and_neighbours_stay_together():
    clock, groups = FakeClock(), fake_groups(3, 4)
    found = list(timing.rounds(groups, clock, 6, timing.Deadline(None)))
    keys = {key for group in groups.values() for key in group}
    assert [set(samples) for samples in found] == [keys] * 6
    turns = [clock.order[7 * i : 7 * i + 7] for i in range(6)]
    assert all(len(set(turn)) == 7 for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1, 'the order changes'
    assert all(sum(a[0] != b[0] for a, b in pairwise(turn)) == 1 for turn in turns)
    assert found[0][1, 3] == (4.0, 8.0)


def test_no_round_begins_that_would_not_end_in_time():
    now = [0.0]

    class Slow(FakeClock):
        def measure(self, call, repeats):
            now[0] += 10
            return super().measure(call, repeats)

    def number(minutes):
        return len(list(timing.rounds(fake_groups(2), Slow(), 9, timing.Deadline(minutes, lambda: now[0]))))

    assert number(1) == 3
    assert number(0) == 1, 'the first one always does'
    assert number(None) == 9


def test_an_interruption_keeps_whole_rounds():
    rows = {(0, i): {'name': i} for i in range(2)}

    def call(key):
        if len(clock.order) == 5:
            raise KeyboardInterrupt
        return key, 1.0

    clock = FakeClock()
    groups = {0: {key: (lambda key=key: call(key), 1) for key in rows}}
    kept = sections.take_turns(groups, rows, clock, 9, timing.Deadline(None), lambda text: None)
    assert [len(row['seconds']) for row in kept] == [2, 2]


@pytest.fixture(autouse=True)
def one_thread():
    """As the harness measures, however many threads the tests have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_processor_time_leaves_waiting_out():
    # In a process of its own: threads that other tests left may work for any time, and their seconds count as well.
    script = (
        'import time, torch; from speed_bench.timing import CpuClock; torch.set_num_threads(1); '
        'sample = CpuClock().measure(lambda: time.sleep(0.05), 4); print(sample.seconds, sample.wall)'
    )
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT / 'benchmarks', capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    processor, wall = map(float, done.stdout.split())
    assert wall >= 0.05
    assert processor < wall / 2


def test_a_gpu_is_timed_between_events(monkeypatch):
    """No GPU is needed: each event notes what was done before it, and the clock adds up what lies between."""
    done = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = len(done)

        def elapsed_time(self, end):
            return 1000.0 * sum(what == 'call' for what in done[self.at : end.at])

    class Buffer:
        def zero_(self):
            done.extend(['flush'])

    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: done.append('wait'))
    clock = object.__new__(timing.CudaClock)
    clock._buffer = Buffer()
    assert clock.measure(lambda: done.append('call'), 3).seconds == 1.0
    assert done == ['wait', *['flush', 'call'] * 3, 'wait']


def test_the_peak_is_what_a_block_takes_beyond_what_was_there(monkeypatch):
    for name, value in dict(memory_allocated=100, max_memory_allocated=350).items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    for name in ('synchronize', 'reset_peak_memory_stats'):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    found = {}
    for device in ('cuda', 'cpu'):
        with memory.Peak(torch.device(device)) as peak:
            pass
        found[device] = peak.found()
    assert found == {'cuda': {'peak': 250}, 'cpu': {}}


def test_backbones_are_measured_with_norms_that_learn():
    for name in ('resnet50', 'hcgnet_b'):
        backbone = contestants.make_backbone(name)
        backbone.train()
        assert all(m.training for m in backbone.modules() if isinstance(m, _BatchNorm)), name


def test_modes_are_joined_and_refused():
    assert modes.Mode('bf16+channels_last').parts == ('bf16', 'channels_last')
    assert modes.Mode('fused').passes == ('forward',)
    for wrong in ('fast', 'eager+', 'bf16+bf16'):
        with pytest.raises(ValueError, match='is no mode'):
            modes.Mode(wrong)


def test_a_run_leaves_nothing_behind_in_the_module():
    contestant = next(c for c in contestants.layers() if c.name.startswith('SqueezeExcite'))
    module = contestant.make()
    runner = sections.Runner(
        modes.Mode('channels_last'), module, contestant.tensors((2, 3, 32, 32)), torch.device('cpu')
    )
    runner.train()
    runner.forward()
    assert all(p.grad is None for p in (*module.parameters(), *runner.module.parameters(), *runner.inputs))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in runner.inputs)
    assert not runner.module.training


def plan(*names, deadline=timing.Deadline(None)):  # noqa: B008 (it has no limit)
    options = dict(device=torch.device('cpu'), rounds=2, deadline=deadline, min_seconds=0)
    return sections.Plan(modes=[modes.Mode(name) for name in names], images=(2, 3, 8, 8), **options)


def broken():
    raise RuntimeError('cannot be built\nin many words')


def made_up_contestants(**makers):
    baseline = next(iter(makers))
    return [
        contestants.Contestant(name, baseline, make, lambda images: [images], input_gradient=False)
        for name, make in makers.items()
    ]


@pytest.fixture
def known_peaks(monkeypatch):
    """Peak rates are not measured."""
    found = roofline.Peaks({'float32': 1e11, 'bfloat16': 1e11}, 1e10)
    monkeypatch.setattr(roofline, 'measure_peaks', lambda device, precisions, clock: found)


def test_what_fails_is_noted_and_the_others_are_measured(known_peaks):
    chosen = made_up_contestants(conv=lambda: nn.Conv2d(3, 4, 1), broken=broken)
    content = sections.measure(chosen, plan('eager', 'bf16+channels_last'), lambda text: None)
    failed, failed_again = content['notes']
    assert failed == 'broken, eager: failed, RuntimeError: cannot be built'
    assert failed_again == 'broken, bf16+channels_last: failed, RuntimeError: cannot be built'
    assert [(r['name'], r['mode'], r['pass']) for r in content['rows']] == [
        ('conv', mode, pass_) for mode in ('eager', 'bf16+channels_last') for pass_ in ('train', 'forward')
    ]
    train, forward, *_ = content['rows']
    assert (forward['flops'], train['flops']) == (2 * 128 * 4 * 3, 2 * 2 * 128 * 4 * 3)  # no gradient of the images
    assert train['kept'] == 4 * 2 * 3 * 8 * 8


def test_what_no_time_was_left_for_is_noted(known_peaks):
    chosen = made_up_contestants(conv=lambda: nn.Conv2d(3, 4, 1), other=lambda: nn.Conv2d(3, 4, 1))
    content = sections.measure(chosen, plan('eager', deadline=timing.Deadline(0)), lambda text: None)
    assert content['notes'] == ['eager: 1 of 2 not measured, no time was left: other']
    assert {r['name'] for r in content['rows']} == {'conv'}


def test_fused_modules_only_infer(known_peaks):
    chosen = made_up_contestants(conv=lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    content = sections.measure(chosen, plan('fused'), lambda text: None)
    assert content['notes'] == []
    assert [(r['mode'], r['pass'], len(r['seconds'])) for r in content['rows']] == [('fused', 'forward', 2)]


def test_latency_is_one_images_forward_pass(known_peaks, monkeypatch):
    measured = {}

    def keep(chosen, plan, say):
        measured.update(chosen=chosen, plan=plan)

    monkeypatch.setattr(sections, 'measure', keep)
    args = speed.make_parser().parse_args(['latency'])
    speed._modules(args, torch.device('cpu'), timing.Deadline(None))
    wanted = measured['plan']
    assert (wanted.images, [mode.name for mode in wanted.modes]) == ((1, 3, 224, 224), ['eager', 'fused'])
    names = [contestant.name for contestant in measured['chosen']]
    assert names == [name for name in contestants.BACKBONES if name != 'hcgnet_b_plain']
    monkeypatch.undo()
    chosen = made_up_contestants(conv=lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    small = dataclasses.replace(wanted, images=(1, 3, 8, 8), min_seconds=0, rounds=2)
    content = sections.measure(chosen, small, lambda text: None)
    assert [(r['mode'], r['pass'], len(r['seconds'])) for r in content['rows']] == [
        (mode, 'forward', 2) for mode in ('eager', 'fused')
    ]


def test_several_threads_go_by_the_wall_and_to_a_record_of_their_own():
    cpu = torch.device('cpu')
    assert (record.kind_of(cpu), timing.CpuClock().counts) == ('cpu', 'processor seconds')
    torch.set_num_threads(2)
    assert record.path_of(cpu).name == 'speed_cpu_threads.json'
    clock = timing.CpuClock()
    sample = clock.measure(lambda: time.sleep(0.05), 1)
    assert (clock.counts, sample.seconds) == ('seconds', sample.wall)


def test_contestants_are_chosen_with_their_baselines():
    def chosen(section, *names):
        return [contestant.name for contestant in contestants.choose(section, names)]

    assert chosen('backbones', 'tiedresnet50') == ['resnet50', 'tiedresnet50']
    assert chosen('backbones', 'hsresnet50_d') == ['resnet50', 'hsresnet50_d'], 'any of the package'
    assert chosen('layers', 'tiedgcb, b = 2, 256') == [
        f'{name}, 256 channels at stride 4' for name in ("MMCV's ContextBlock", 'TiedGCB, B = 2')
    ]
    with pytest.raises(InputError, match="There is no contestant 'tiedresnet500' among the backbones"):
        chosen('backbones', 'resnet50', 'tiedresnet500')
