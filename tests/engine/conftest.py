import json

import pytest
from mmengine.registry import DefaultScope

from mmhybrid.engine import data_check
from tests.datasets import faulty


@pytest.fixture(autouse=True)
def no_scope_left_behind():
    """A runner makes its scope the current one, in which later tests would look for backbones."""
    before = dict(DefaultScope._instance_dict)
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture
def ann_file(tmp_path, monkeypatch):
    """Write an annotation file, by default a sound one; no report of an earlier file is remembered."""
    monkeypatch.setattr(data_check, '_REPORTS', {})

    def write(document=None, name='annotations.json'):
        path = tmp_path / name
        path.write_text(json.dumps(faulty.sound() if document is None else document))
        return str(path)

    return write
