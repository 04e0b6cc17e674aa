import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmhybrid.datasets.occluded_shapes import generate
from tests.conftest import leave_configs_unformatted

REPO = Path(__file__).resolve().parents[2]
DEMO = REPO / 'configs' / 'demo_mask_rcnn_tiedresnet_occluded_shapes.py'


@pytest.fixture(scope='session')
def shapes(tmp_path_factory):
    """A few images of the embedded data set."""
    root = tmp_path_factory.mktemp('shapes')
    generate(root / 'data', {'train': 8, 'val': 10}, size=128, progress=False)
    return root / 'data'


@pytest.fixture(scope='session')
def tool(tmp_path_factory):
    """Run one of the tools as a user does, from a folder that is not the repository's."""
    elsewhere = tmp_path_factory.mktemp('elsewhere')

    def run(name, *args, launcher=(sys.executable,), wait=True):
        words = [str(word) for word in (*launcher, REPO / 'tools' / name, *args)]
        # torchrun gives each process one thread; with two, sums round differently.
        options = dict(cwd=elsewhere, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
        if wait:
            return subprocess.run(words, capture_output=True, **options)
        both = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return subprocess.Popen(words, start_new_session=True, **both, **options)

    return run


@pytest.fixture(scope='session')
def forked_tool(tmp_path_factory):
    """Run one of the tools in a process forked from one that has imported MMDetection, which takes most of the time."""
    elsewhere = tmp_path_factory.mktemp('forked')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmdet.models', 'mmdet.evaluation', 'mmhybrid.registry'])

    def run(name, *args):
        words = [str(word) for word in (REPO / 'tools' / name, *args)]
        out, err = elsewhere / 'stdout', elsewhere / 'stderr'
        process = context.Process(target=_run, args=(words, elsewhere, out, err))
        process.start()
        process.join()
        return subprocess.CompletedProcess(words, process.exitcode, out.read_text(), err.read_text())

    return run


def _run(words, folder, out, err):
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    torch.set_num_threads(1)
    leave_configs_unformatted()
    os.chdir(folder)
    sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name='__main__')


def small(root, **options):
    """Options that shrink the demo to seconds."""
    options = {
        'data_root': root,
        'scale': None,
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'test_dataloader.batch_size': 1,  # the same batches however many processes share them
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
        'default_hooks.logger.interval': 1,
        'default_hooks.checkpoint.interval': 1,
        'model.test_cfg.rcnn.score_thr': 0.0,
    } | {key.replace('__', '.'): value for key, value in options.items()}
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items() if value is not None)]
