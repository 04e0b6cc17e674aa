"""No road to a checkpoint runs what the file brings, and each still leads to its weights."""

import contextlib
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmhybrid.checkpoints import roads
from mmhybrid.datasets.occluded_shapes import generate
from mmhybrid.errors import InputError

from ..tools.conftest import DEMO, REPO, small
from .attacks import PICKLES, TEXTS, text, through_getattr, write
from .loading import ROADS, Toy, infer, load, resume, serve, state_dict


@pytest.fixture(autouse=True)
def no_scope_stays():
    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.mark.parametrize('attack', [*PICKLES, *TEXTS])
@pytest.mark.parametrize('road', ROADS, ids=lambda road: road.__name__)
def test_no_road_runs_a_files_code(road, attack, tmp_path):
    marker = tmp_path / 'marker'
    path = write(attack, tmp_path / 'bad.pth', marker, state_dict())
    if attack in TEXTS:
        road(path, tmp_path)
    else:
        with pytest.raises(InputError, match=r'bad\.pth is not (read|used), because'):
            road(path, tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ('road', 'attack'), [(resume, 'meta.config'), (infer, 'message_hub.cfg'), (infer, 'meta.cfg'), (load, 'open')]
)
def test_these_attacks_work_without_this_package(road, attack, tmp_path, monkeypatch):
    if not hasattr(mmengine_checkpoint, 'get_torch_safe_globals') and torch.__version__ >= (2, 6) and attack == 'open':
        pytest.skip('stock MMEngine has no fallback, and its torch.load reads weights only')
    marker = tmp_path / 'marker'
    path = write(attack, tmp_path / 'bad.pth', marker, state_dict())
    monkeypatch.setitem(CheckpointLoader._schemes, '', mmengine_checkpoint.load_from_local)
    with contextlib.suppress(Exception):  # after the code
        road(path, tmp_path)
    assert marker.exists()


@pytest.mark.skipif(not hasattr(mmengine_checkpoint, 'get_torch_safe_globals'), reason='of the OneDL line')
def test_mmengines_own_list_of_harmless_globals_runs_code(tmp_path):
    torch.save(through_getattr(text(tmp_path / 'marker')), tmp_path / 'bad.pth')
    with torch.serialization.safe_globals(mmengine_checkpoint.get_torch_safe_globals()):
        with pytest.raises(AttributeError):  # afterwards
            torch.load(tmp_path / 'bad.pth', weights_only=True)
        assert (tmp_path / 'marker').exists()
        (tmp_path / 'marker').unlink()
        with pytest.raises(InputError, match='getattr of'):  # although the list is in force
            roads.load_from_local(str(tmp_path / 'bad.pth'))
    assert not (tmp_path / 'marker').exists()


def tool(name, *args, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')  # so that it is restored
    monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(REPO / 'tools' / name), run_name='__main__')
    return stopped.value.code


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    root = tmp_path_factory.mktemp('shapes') / 'data'
    generate(root, {'train': 2, 'val': 2}, size=96, progress=False)
    return root


@pytest.mark.parametrize(
    'words',
    [pytest.param(['test.py'], id='test'), pytest.param(['train.py', '--resume'], id='resume', marks=pytest.mark.slow)],
)
def test_the_tools_say_it_in_one_sentence(words, shapes, tmp_path, monkeypatch, capsys):
    path = write('getattr', tmp_path / 'bad.pth', tmp_path / 'marker', state_dict())
    args = (DEMO, *words[1:], path, '--work-dir', tmp_path / 'work', *small(shapes))
    assert tool(words[0], *args, monkeypatch=monkeypatch) == 2
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence.startswith(f'error: The checkpoint {path} is not read, because')
    assert not (tmp_path / 'marker').exists()


# Each road leads to its weights.


@pytest.fixture
def weights(tmp_path):
    layer = Toy().state_dict()
    torch.save({'state_dict': layer, 'meta': {'epoch': 1, 'config': 'x = 1'}}, tmp_path / 'toy-9876.pth')
    return layer, tmp_path / 'toy-9876.pth'


def assert_leads_to(weights, name):
    model = Toy()
    checkpoint = load_checkpoint(model, name)
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[0][key])
    return checkpoint


@pytest.fixture
def server(tmp_path):
    with serve(tmp_path) as url:
        yield url


def test_a_local_file(weights, monkeypatch):
    assert_leads_to(weights, str(weights[1]))
    monkeypatch.setenv('HOME', str(weights[1].parent))
    checkpoint = assert_leads_to(weights, f'~/{weights[1].name}')
    assert checkpoint['meta'] == {'epoch': 1}


def test_a_url_is_downloaded_once(weights, server):
    assert_leads_to(weights, f'{server}/{weights[1].name}')
    weights[1].unlink()
    assert_leads_to(weights, f'{server}/{weights[1].name}')
    with pytest.raises(InputError, match=r'nothing\.pth cannot be downloaded .*404'):
        load_checkpoint(Toy(), f'{server}/nothing.pth')


@pytest.mark.parametrize('rank', [0, 1])
def test_the_first_of_several_processes_downloads(rank, weights, server, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(roads, 'get_dist_info', lambda: (rank, 2))
    monkeypatch.setattr(torch.distributed, 'barrier', lambda: seen.append((tmp_path / 'hub').exists()))
    roads.load_from_http(f'{server}/{weights[1].name}')
    assert seen == [rank == 0]
    with pytest.raises(InputError):
        roads.load_from_http(f'{server}/nothing.pth')
    assert len(seen) == 2  # the others do not wait for ever


def test_a_download_runs_no_code_and_its_hash_is_checked(weights, server, tmp_path):
    write('getattr', tmp_path / 'bad.pth', tmp_path / 'marker')
    with pytest.raises(InputError, match=r'getattr of .* is a download of http\S+bad\.pth, .* once you delete it\.$'):
        load_checkpoint(Toy(), f'{server}/bad.pth')
    assert not (tmp_path / 'marker').exists()
    for name in ('toy-20240131.pth', 'toy-01234567.pth'):
        (tmp_path / name).write_bytes(weights[1].read_bytes())
    assert_leads_to(weights, f'{server}/toy-20240131.pth')  # a date
    with pytest.raises(InputError, match=r'is not the file that its name promises .*invalid hash value'):
        load_checkpoint(Toy(), f'{server}/toy-01234567.pth')


def test_the_tables_of_published_weights(weights, server, tmp_path, monkeypatch):
    url = f'{server}/{weights[1].name}'
    monkeypatch.setattr(mmengine_checkpoint, 'get_torchvision_models', lambda: {'resnet50': url})
    assert_leads_to(weights, 'torchvision://resnet50')
    assert_leads_to(weights, 'modelzoo://resnet50')
    with pytest.raises(InputError, match=r'knows no weights torchvision://resnet5; did you mean resnet50\?'):
        load_checkpoint(Toy(), 'torchvision://resnet5')
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    (tmp_path / 'open_mmlab.json').write_text(json.dumps({'mine': weights[1].name, 'theirs': url}))
    for name in ('open-mmlab://mine', 'openmmlab://mine', 'open-mmlab://theirs'):
        assert_leads_to(weights, name)
    torch.save({f'backbone.{k}': v for k, v in weights[0].items()} | {'head.x': torch.zeros(1)}, tmp_path / 'cls.pth')
    monkeypatch.setattr(mmengine_checkpoint, 'get_mmcls_models', lambda: {'toy': f'{server}/cls.pth'})
    assert_leads_to(weights, 'mmcls://toy')
    assert CheckpointLoader.load_checkpoint('mmcls://toy').keys() == {'state_dict'}


def test_an_object_store(weights, tmp_path, monkeypatch):
    class Store:
        @staticmethod
        def get(name):
            return Path(tmp_path, name.rpartition('/')[2]).read_bytes()

    monkeypatch.setattr(roads, 'get_file_backend', lambda name, backend_args: Store)
    for prefix in ('s3://', 'petrel://', 'cluster:s3://'):
        assert_leads_to(weights, f'{prefix}bucket/{weights[1].name}')
    write('os.system', tmp_path / 'bad.pth', tmp_path / 'marker')
    with pytest.raises(InputError):
        load_checkpoint(Toy(), 's3://bucket/bad.pth')
    assert not (tmp_path / 'marker').exists()


def test_every_prefix_of_mmengine_has_a_road():
    assert {loader.__module__ for loader in CheckpointLoader._schemes.values()} == {roads.__name__}
    before = dict(CheckpointLoader._schemes)
    roads.install()
    assert dict(CheckpointLoader._schemes) == before


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ([1, 2], 'its content is of type list'),
        (torch.zeros(2), 'its content is of type Tensor'),
        ({'state_dict': [1]}, "its 'state_dict' is of type list"),
        ({'meta': 'x', 'state_dict': {}}, "its 'meta' is of type str"),
        ({'message_hub': 3, 'state_dict': {}}, "its 'message_hub' is of type int"),
        ({'message_hub': {'runtime_info': 3}, 'state_dict': {}}, "its 'runtime_info' is of type int"),
        ({1: torch.zeros(2)}, 'a weight is called 1'),
    ],
)
def test_what_holds_something_else_is_refused(content, reason, tmp_path):
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(InputError, match=rf'x\.pth is not used, because {reason}'):
        load_checkpoint(Toy(), str(tmp_path / 'x.pth'))
