"""The notebook runs from its first cell to its last and gives the outputs that it shows."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / 'examples' / 'occlusion_evaluation.ipynb'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('run_notebook', ROOT / 'tools' / 'run_notebook.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(notebook):
    """Of each cell, everything it shows but the bytes of pictures, which differ between versions of matplotlib."""
    for cell in notebook['cells']:
        for output in cell.get('outputs', []):
            shown = output.get('data', {})
            yield cell['id'], output.get('text'), shown.get('text/plain'), 'image/png' in shown


def test_the_outputs_are_those_of_a_run(tool):
    kept = json.loads(NOTEBOOK.read_text(encoding='utf-8'))
    shown = list(texts(kept))
    assert list(texts(tool.run(kept))) == shown and sum(is_picture for *_, is_picture in shown) == 1
    assert NOTEBOOK.stat().st_size < 200_000
    assert (kept['nbformat'], len({cell['id'] for cell in kept['cells']})) == (4, len(kept['cells']))


def test_a_run_shows_prints_values_and_ends_at_an_error(tool):
    def cell(source):
        return {'cell_type': 'code', 'id': source, 'metadata': {}, 'source': [source], 'outputs': ['old']}

    made = tool.run({'cells': [cell('x = 1\nprint("a")\nx + 1'), cell('x;'), cell('None')]})
    first, *others = [each['outputs'] for each in made['cells']]
    assert first[0]['text'] == ['a\n'] and first[1]['data'] == {'text/plain': ['2']} and others == [[], []]
    with pytest.raises(NameError):
        tool.run({'cells': [cell('unknown')]})
