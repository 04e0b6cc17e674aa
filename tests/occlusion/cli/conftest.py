import json
from pathlib import Path

import pytest

from ..synthetic import dataset


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A data set and the results of two models in the working folder; the arguments that name the first."""
    monkeypatch.chdir(tmp_path)
    gt, dt = dataset(2, masks=True)
    Path('gt.json').write_text(json.dumps(gt))
    Path('model.bbox.json').write_text(json.dumps(dt))
    Path('other.bbox.json').write_text(json.dumps(dt[::2]))
    return ['--ann', 'gt.json', '--results', 'model.bbox.json']
