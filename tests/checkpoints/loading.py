"""The roads by which MMEngine and MMDetection read a checkpoint, each as a function of a file and a work folder."""

import contextlib
import functools
import http.server
import os
import threading

import mmdet.apis
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.model import BaseModel, BaseModule
from mmengine.runner import Runner, load_checkpoint

import mmhybrid
from mmhybrid.backbones import TiedResNet

from ..tools.conftest import DEMO

SMALL = dict(depth=50, base_channels=16, base_width=8, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, inputs, mode='loss'):
        return {'loss': self.layer(inputs).sum()}


def runner(path, folder, **options):
    return Runner(
        model=Toy(),
        work_dir=str(folder / 'work'),
        train_dataloader=dict(dataset=[torch.zeros(2)] * 4, sampler=dict(type=DefaultSampler), batch_size=4),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        load_from=str(path),
        experiment_name=f'{folder.name}{len(list(folder.iterdir()))}',
        default_hooks=dict(checkpoint=None, logger=None, runtime_info=None),
        default_scope='mmengine',
        **options,
    )


def pretrained(path, **options):
    return dict(type='Pretrained', checkpoint=str(path), **options)


def create(path, folder):
    mmhybrid.create_backbone('tiedresnet50', **SMALL, init_cfg=pretrained(path))


def initialise(path, folder):
    TiedResNet(**SMALL, init_cfg=pretrained(path)).init_weights()


def initialise_with_a_prefix(path, folder):
    module = BaseModule(init_cfg=pretrained(path, prefix='backbone.'))
    module.backbone = TiedResNet(**SMALL)
    module.init_weights()


def load(path, folder):
    load_checkpoint(Toy(), str(path))


def load_from(path, folder):
    runner(path, folder).load_or_resume()


def resume(path, folder):
    runner(path, folder, resume=True).train()


@functools.cache
def detector():
    config = Config.fromfile(DEMO)
    config.model.backbone.update(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    config.model.neck.update(in_channels=[64])
    return config


def init_detector(path, folder):
    mmdet.apis.init_detector(detector(), str(path), palette='random', device='cpu')


def infer(path, folder):
    """Without a config: MMDetection takes the checkpoint's, which is a program."""
    try:
        mmdet.apis.DetInferencer(weights=str(path), device='cpu', show_progress=False)
    except ValueError as error:
        if 'Cannot find the config' not in str(error):
            raise


def download(path, folder):
    with serve(path.parent) as url:
        load_checkpoint(Toy(), f'{url}/{path.name}')


ROADS = (create, initialise, initialise_with_a_prefix, load, load_from, resume, init_detector, infer, download)


def state_dict():
    # One for each road: whatever does not fit is left out by MMEngine.
    return Toy().state_dict() | {f'backbone.{k}': v for k, v in TiedResNet(**SMALL).state_dict().items()}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(folder):
    """The folder as http://127.0.0.1, and as an empty cache for what is downloaded."""
    handler = functools.partial(Quiet, directory=str(folder))
    before = torch.hub.get_dir
    torch.hub.get_dir = lambda: str(folder / 'hub')
    proxies = os.environ.get('no_proxy')
    os.environ['no_proxy'] = '*'
    try:
        with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as served:
            threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
            yield f'http://127.0.0.1:{served.server_address[1]}'
            served.shutdown()
    finally:
        torch.hub.get_dir = before
        os.environ.pop('no_proxy')
        if proxies is not None:
            os.environ['no_proxy'] = proxies
