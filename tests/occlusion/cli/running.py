"""What the tests of the commands look at."""

import json
import os
from pathlib import Path

from mmhybrid.occlusion.cli import main, main_eval

ROOT = Path(__file__).parents[3]
TOOL = ROOT / 'tools' / 'eval_occlusion.py'
ENVIRONMENT = os.environ | {'PYTHONPATH': str(ROOT)}


def refused(capsys, arguments, run=main_eval):
    """The one line of stderr of a refused run."""
    assert run(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('error: ')
    return error


def document(folder):
    """The JSON file of a run."""
    return json.loads(Path(folder, 'occlusion.json').read_text())


def results(arguments, folder='out'):
    """The results of a run of ``eval``, in the place of those of an earlier one."""
    assert main(['eval', *arguments, '--out-dir', folder, '--format', 'json', '--force']) == 0
    return document(folder)['results']
