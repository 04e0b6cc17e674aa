"""A rehearsal of benchmarks/crash_trials.py: one kill, and what it is told by."""

import dataclasses
import sys
from pathlib import Path

import mmengine.config.utils
import pytest
import torch
import yapf.yapflib.yapf_api

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

from crash_steps import damaged, kills, plan  # noqa: E402
from crash_steps.processes import import_everything  # noqa: E402
from crash_steps.runs import Case, Trial, prepare, whole_run  # noqa: E402

CASE = Case(keep=1, by_epoch=False, saves=3)
NEW, OLD, PART = 'iter_3.pth', 'iter_2.pth', '.mmhybrid-iter_3.pth-x.partial'


@pytest.fixture
def shared(tmp_path, monkeypatch):
    # What import_everything leaves out is there again after the test.
    monkeypatch.setattr(yapf.yapflib.yapf_api, 'FormatCode', yapf.yapflib.yapf_api.FormatCode)
    monkeypatch.setattr(mmengine.config.utils, '_get_cfg_metainfo', mmengine.config.utils._get_cfg_metainfo)
    import_everything()
    folder = tmp_path / 'shared'
    folder.mkdir()
    prepare(folder)
    return folder


@pytest.mark.slow
def test_a_kill_loses_nothing_and_a_loss_is_noticed(shared, tmp_path):
    whole = whole_run(tmp_path / 'whole', CASE, shared)
    with_workers = dataclasses.replace(CASE, workers=2)
    made = kills.chain(tmp_path / 'chain', shared, with_workers, 1, whole, seed=1)
    assert made['faults'] == []
    row = kills.summary(CASE, [made])
    assert (row['kills'], row['resumed'], row['processes_gone_after_s'] < 1) == (1, 1, True)

    trial = Trial(tmp_path / 'whole', CASE, shared)
    last = torch.load(trial.work_dir / 'iter_3.pth', weights_only=True)
    next(iter(last['state_dict'].values())).view(-1)[0] += 1e-3
    torch.save(last, trial.work_dir / 'iter_3.pth')
    assert trial.differences(whole) == ['weights or optimizer at the end']


@pytest.mark.parametrize(
    ('names', 'pointer', 'phase'),
    [
        ([OLD], OLD, 'no new file yet'),
        ([OLD, PART], OLD, 'the new one partly in a temporary file'),
        ([OLD, NEW], OLD, 'the new one there, the pointer still on the old one'),
        ([OLD, NEW], '', 'the new one there, the pointer still on the old one'),
        ([OLD, NEW], f'/elsewhere/{NEW}', "the new one there, MMEngine's pointer"),
        ([OLD, NEW], NEW, 'the new one and the pointer there, the old one not yet removed'),
        ([NEW], NEW, 'all done'),
    ],
)
def test_the_phase_of_a_kill_is_told_by_the_files(names, pointer, phase):
    assert kills.phase_of(CASE, NEW, names, pointer) == phase


@pytest.mark.parametrize('kind', damaged.FILES)
def test_damage_is_done(kind, tmp_path):
    path = tmp_path / 'file.pth'
    path.write_bytes(bytes(range(250)) * 40)
    before = path.read_bytes()
    damaged.FILES[kind](path)
    assert not path.is_file() or path.read_bytes() != before


def test_a_trial_that_fails_is_a_fault(tmp_path):
    def broken(folder, shared):
        raise OSError(f'nothing in {folder}')

    outcome = plan.attempt(plan.Job('files', 'one', broken), tmp_path / 'x', tmp_path)
    assert outcome['rows'] == [] and 'OSError: nothing in x' in outcome['faults'][0]
