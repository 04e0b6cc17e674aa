"""Nothing that a pickle names is run, and nothing in one reaches memory that is not its own."""

import io
import os
import pickle
import pickletools
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read import unpickling
from mmhybrid.occlusion.read.detections import load_detections

from .test_mmdet_pickle import CHECKED, ID, prediction, written


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def inner(content):
    """A tensor's storage with ``content`` in place of its header, as bytes: what PyTorch would unpickle in turn."""
    import torch

    return Call(torch.storage._load_from_bytes, pickle.dumps(content, protocol=2))


def malicious(marker):
    command = f'touch {marker}'
    yield 'system', Call(os.system, command)
    yield 'eval', Call(eval, f'open({str(marker)!r}, "w")')
    yield 'getattr', Call(getattr, os, 'system')
    yield 'open', Call(io.open, str(marker), 'w')
    yield 'Popen', Call(subprocess.Popen, ['touch', str(marker)])
    yield "dtype('O8')", np.array([Call(os.system, command)], dtype=object)
    if 'torch' in sys.modules:
        yield 'system', inner(Call(os.system, command))


@pytest.mark.parametrize('protocol', range(2, 6))
def test_nothing_that_a_pickle_names_is_run(tmp_path, protocol):
    pytest.importorskip('torch')
    marker = tmp_path / 'marker'
    for name, harmful in malicious(marker):
        for content in (harmful, [harmful], [prediction(ID, scores=harmful)], OrderedDict(a=harmful)):
            try:
                raw = pickle.dumps(content, protocol=protocol)
            except (TypeError, pickle.PicklingError):  # modules cannot be pickled
                continue
            path = tmp_path / 'predictions.pickle'
            path.write_bytes(raw)
            with pytest.raises(InputError, match=r"it names '.*, which predictions do not need") as caught:
                load_detections(path, CHECKED)
            assert name in str(caught.value)
            assert not marker.exists()
    pickle.loads(pickle.dumps(Call(os.system, f'touch {marker}')))
    assert marker.exists()  # so these would have run


def test_what_stands_for_a_function_cannot_be_changed(tmp_path):
    """The opcode BUILD sets attributes of what is on the stack."""
    state = b'}(X\x08\x00\x00\x00__call__K\x01u'
    for module, name in (('torch._utils', '_rebuild_tensor_v2'), ('numpy', 'dtype'), ('torch', 'Size')):
        for pair in (state, b'N' + state + b'\x86'):
            path = tmp_path / 'x.pkl'
            path.write_bytes(b'\x80\x02c' + f'{module}\n{name}\n'.encode() + pair + b'b.')
            pickletools.dis(path.read_bytes(), out=io.StringIO())
            with pytest.raises(InputError, match=r'cannot be read as a pickle|must be a JSON list'):
                load_detections(path, CHECKED)
    dt = load_detections(written(tmp_path, [prediction(ID)]), CHECKED)
    assert len(dt) == 3


def tensor(storage_length=4, offset=0, size=(2, 2), stride=(2, 1)):
    """The arguments of a tensor's pickle."""
    torch = pytest.importorskip('torch')
    storage = torch.arange(storage_length, dtype=torch.float32).storage()
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())


@pytest.mark.filterwarnings('ignore:TypedStorage')
@pytest.mark.parametrize(
    'changes',
    [{'offset': 1}, {'offset': -1}, {'size': (3, 2)}, {'stride': (3, 1)}, {'stride': (-1, 1)}, {'size': (2, 2, 2)},
     {'size': (2**20, 2**20), 'stride': (0, 0)}, {'offset': 2**70}],
)  # fmt: skip
def test_tensors_stay_in_their_storage(tmp_path, changes):
    path = written(tmp_path, [prediction(ID, scores=tensor(**changes))])
    with pytest.raises(InputError, match='cannot be read as a pickle'):
        load_detections(path, CHECKED)
    good = written(tmp_path, [prediction(ID, scores=tensor(size=(3,), stride=(1,)))])
    assert load_detections(good, CHECKED).scores.tolist() == [0, 1, 2]


def nested(depth):
    return [nested(depth - 1)] * 10 if depth else 0.5


POLYGON = [10.0, 10.0, 50.0, 10.0, 50.0, 50.0]


@pytest.mark.parametrize(
    'changes', [{'image_id': nested(8)}, {'scores': nested(6)}, {'segmentation': [POLYGON * 900] * 3000}]
)
def test_small_pickles_stay_small(tmp_path, monkeypatch, changes):
    """A list that is in another many times takes some bytes each."""
    monkeypatch.setattr(unpickling, 'FREE', 2**18)
    row = {'image_id': ID, 'category_id': 3, 'score': 0.5, 'bbox': [1.0, 2.0, 3.0, 4.0], 'segmentation': [POLYGON] * 50}
    path = written(tmp_path, [row | changes] * 10)
    assert path.stat().st_size < 10**5
    with pytest.raises(InputError, match='repeat one another to more than 262144 values'):
        load_detections(path, CHECKED)
    cycle = []
    cycle.append(cycle)
    with pytest.raises(InputError, match='repeat one another'):
        load_detections(written(tmp_path, [row, cycle]), CHECKED)
    assert len(load_detections(written(tmp_path, [row] * 100), CHECKED)) == 100  # some may well be shared


FUZZ = """
import io, pickle, random, resource, sys, zipfile
import numpy as np
from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from tests.occlusion.read.test_mmdet_pickle import GT, prediction

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))  # a broken pickle may ask for any amount of memory
checked = load_ground_truth(GT, ('segm',))
ids = checked.image_ids.tolist()
found = [prediction(i, 2, seed) for seed, i in enumerate(ids[:2])]
arrays = [each['pred_instances'] for each in found]
five = np.hstack([arrays[0]['bboxes'], arrays[0]['scores'][:, None]])
classes = ([five, five[:0], five[:0], five[:0]], [arrays[0]['masks'], [], [], []])
rows = [{'image_id': ids[0], 'category_id': 3, 'bbox': [1.0, 2.0, 3.0, 4.0], 'score': 0.5}]
rows[0]['segmentation'] = arrays[0]['masks'][0]
zipped = io.BytesIO()
with zipfile.ZipFile(zipped, 'w') as file:
    file.writestr('x/data.pkl', pickle.dumps([{'image_id': ids[0], 'instances': rows}], protocol=2))
wholes = [pickle.dumps(each, protocol=2) for each in (found, [classes] * len(ids), rows)] + [zipped.getvalue()]
rng = random.Random(0)
outcomes = {'error': 0, 'loaded': 0}
for _ in range(1500):
    raw = bytearray(rng.choice(wholes))
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(raw))
        kind = rng.randrange(4)
        if kind == 0:
            raw[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del raw[at]
        elif kind == 2:
            raw.insert(at, rng.randrange(256))
        elif rng.random() < 0.1:
            del raw[at:]
    open(sys.argv[1], 'wb').write(raw)
    try:
        load_detections(sys.argv[1], checked, ('bbox', 'segm'))
    except InputError as error:
        assert '\\n' not in str(error)
        outcomes['error'] += 1
    else:
        outcomes['loaded'] += 1
assert min(outcomes.values()) > 50, outcomes
"""


@pytest.mark.skipif(sys.platform == 'win32', reason='no limit on memory')
def test_no_other_error_whatever_the_pickle_holds(tmp_path):
    command = [sys.executable, '-c', FUZZ, str(tmp_path / 'fuzz.pkl')]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
