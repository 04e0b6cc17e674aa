"""hotcoco in processes forked after its threads had started: seen to wait for ever, now refused or avoided."""

import multiprocessing
import subprocess
import sys
from importlib.util import find_spec

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import matching
from mmhybrid.occlusion.matching import forked

pytestmark = [
    pytest.mark.skipif(find_spec('hotcoco') is None, reason='hotcoco is not installed'),
    pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='needs fork'),
]
# In a process of its own: the one that runs the tests has threads of other libraries.
PROGRAM = """
import multiprocessing

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.occlusion import evaluate, matching
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from tests.occlusion.synthetic import dataset

GT, DT = dataset(3)


def work(engine):
    try:
        result = evaluate(GT, DT, engine=engine)['bbox']
    except InputError as error:
        return str(error)
    return result.engine, result.strata[0].ap


def again(_):
    try:
        return matched.metrics([np.array([0])])
    except InputError as error:
        return str(error)


with multiprocessing.get_context('fork').Pool(1) as pool:
    before = pool.map(work, ['hotcoco'])
here = work(None)
gt = load_ground_truth(GT)
matched = matching.match(gt, load_detections(DT, gt), engine='hotcoco')
with multiprocessing.get_context('fork').Pool(1) as pool:
    after = pool.map(work, [None, 'pycocotools', 'hotcoco'])
    kept = pool.map(again, [0])
assert before == [here] and here[0] == 'hotcoco', (before, here)
assert all(engine == 'pycocotools' and abs(ap - here[1]) < 1e-12 for engine, ap in after[:2]), after
assert 'would wait for ever in a process forked' in after[2] and after[2] == kept[0], (after, kept)
"""


def test_a_pool_forked_before_and_after():
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_sentence(monkeypatch):
    monkeypatch.setattr(forked, 'lost_threads', True)
    assert matching.default_engine() == 'pycocotools'
    with pytest.raises(InputError, match=r"take 'pycocotools', or start the process by multiprocessing's 'spawn'\."):
        matching.engine_name('hotcoco')
