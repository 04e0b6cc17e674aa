"""The processes that a step of a GPU loan starts: at the same time, told apart, and ended with all they started."""

import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

from gpu_steps import children  # noqa: E402


def test_children_run_at_the_same_time_and_tell_how_they_ended(tmp_path):
    meet = 'import os, sys, time\nopen(sys.argv[1], "w")\nwhile not os.path.exists(sys.argv[2]): time.sleep(0.01)'
    a, b = tmp_path / 'a', tmp_path / 'b'
    two = [children.Child('a', ['-c', meet, a, b]), children.Child('b', ['-c', meet, b, a])]
    children.run(two, tmp_path, 20, jobs=2)
    broken = children.Child('c', ['-c', f"import sys; print('{ROOT}/x.py'); sys.exit(3)"])
    with pytest.raises(children.ChildFailed, match=r'c ended with 3:\nx\.py'):
        children.run([broken, *two], tmp_path, 20)


def test_a_child_that_takes_too_long_ends_with_all_that_it_started(tmp_path, monkeypatch):
    """Also what has a group of its own, as torchrun's processes have, and what ignores an interrupt."""
    monkeypatch.setattr(children, 'GRACE', 0.5)
    pids = tmp_path / 'pids'
    code = (
        'import os, signal, subprocess, sys, time\n'
        'signal.signal(signal.SIGINT, signal.SIG_IGN)\n'
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "open(sys.argv[1] + '_', 'w').write(f'{os.getpid()} {other.pid}')\n"
        "os.replace(sys.argv[1] + '_', sys.argv[1])\n"
        'time.sleep(60)\n'
    )
    began = time.monotonic()
    with pytest.raises(children.ChildFailed, match=r'slow took longer than 4 s(.|\n)*next was not begun'):
        children.run([children.Child('slow', ['-c', code, pids]), children.Child('next', ['-c', ''])], tmp_path, 4)
    assert time.monotonic() - began < 20
    end = time.monotonic() + 10
    left = [Path(f'/proc/{pid}/stat') for pid in pids.read_text().split()]
    while left and time.monotonic() < end:
        left = [state for state in left if lives(state)]
    assert not left


def lives(state):
    try:
        return state.read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False
