"""The example of a project that uses mmhybrid builds and runs in its own folder."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_example_builds_and_runs():
    done = subprocess.run(
        [sys.executable, 'check.py'],
        cwd=ROOT / 'examples' / 'downstream',
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == (
        'FasterRCNN TiedResNet [(1, 256, 16, 24), (1, 256, 8, 12), (1, 256, 4, 6), (1, 256, 2, 3), (1, 256, 1, 2)]'
    )
