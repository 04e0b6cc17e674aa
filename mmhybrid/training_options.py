"""Options of the tools that train, and what they set in a config."""

import argparse

from mmengine.config import Config
from mmengine.device import get_device

from mmhybrid import launch
from mmhybrid.checkpoints import files
from mmhybrid.errors import InputError


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``tools/train.py`` and ``tools/pretrain.py`` take besides the options of all tools."""
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision (needs a GPU)')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the number of images in a step, relative to auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help="continue from a checkpoint, or from the work dir's newest intact one if none is named",
    )
    parser.add_argument(
        '--on-nonfinite',
        choices=['stop', 'skip'],
        help='what to do with a batch whose loss is infinite or NaN (default: stop the run; the batch is kept)',
    )


def apply_training_options(cfg: Config, args: argparse.Namespace) -> None:
    """Turn the options of training into settings.

    Args:
        cfg: Is changed.
        args: The command line.

    Raises:
        InputError: If an option cannot apply, if there is nothing to resume, or if the run would overwrite another.
    """
    if args.amp:
        if get_device() == 'cpu':
            raise InputError('--amp needs a GPU, and none was found; leave the option out.')
        if cfg.get('optim_wrapper') is None:
            raise InputError(f'--amp needs an optim_wrapper, which {args.config} does not have.')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise InputError(f'--auto-scale-lr needs auto_scale_lr.base_batch_size, which {args.config} does not set.')
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    if cfg.get('load_from'):
        (launch.check_run if cfg.get('resume') else launch.check_checkpoint)(cfg.load_from)
    if not cfg.get('resume') and (earlier := next(files.checkpoints([cfg.work_dir]), None)):
        raise InputError(
            f'{cfg.work_dir} holds an earlier run ({earlier.name}), which a new one would overwrite: continue it '
            'with --resume or choose another --work-dir.'
        )
