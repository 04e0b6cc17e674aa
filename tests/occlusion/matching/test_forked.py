"""hotcoco in processes forked after its threads had started: seen to wait for ever, now refused or avoided."""

import multiprocessing
import subprocess
import sys
from importlib.util import find_spec

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import matching

pytestmark = [
    pytest.mark.skipif(find_spec('hotcoco') is None, reason='hotcoco is not installed'),
    pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='needs fork'),
]
# In a process of its own: the one that runs the tests has threads of other libraries.
PROGRAM = """
import multiprocessing

from mmhybrid.errors import InputError
from mmhybrid.occlusion import evaluate
from tests.occlusion.synthetic import dataset

GT, DT = dataset(3)


def work(engine):
    try:
        result = evaluate(GT, DT, engine=engine)['bbox']
    except InputError as error:
        return str(error)
    return result.engine, result.strata[0].ap


with multiprocessing.get_context('fork').Pool(1) as pool:
    before = pool.map(work, ['hotcoco'])
here = work(None)
with multiprocessing.get_context('fork').Pool(1) as pool:
    after = pool.map(work, [None, 'pycocotools', 'hotcoco'])
assert before == [here] and here[0] == 'hotcoco', (before, here)
assert all(engine == 'pycocotools' and abs(ap - here[1]) < 1e-12 for engine, ap in after[:2]), after
assert 'would wait for ever in a process forked' in after[2], after
"""


def test_a_pool_forked_before_and_after():
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_sentence(monkeypatch):
    monkeypatch.setattr(matching, 'lost_threads', True)
    assert matching.default_engine() == 'pycocotools'
    with pytest.raises(InputError, match=r"take 'pycocotools', or start the process by multiprocessing's 'spawn'\."):
        matching.engine_name('hotcoco')
