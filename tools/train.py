"""Train a detector: ``python tools/train.py configs/mask_rcnn_tiedresnet50_fpn_2x.py``."""

from mmhybrid import _stack

_stack.require_or_exit()

from mmdet.utils import setup_cache_size_limit_of_dynamo  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.device import get_device  # noqa: E402

from mmhybrid import launch  # noqa: E402
from mmhybrid.checkpoints import files  # noqa: E402
from mmhybrid.engine.data_check import check_before_building  # noqa: E402
from mmhybrid.errors import InputError  # noqa: E402


def parse_args():
    """Read the command line."""
    parser = launch.make_parser(
        'Train a detector.',
        'python tools/train.py configs/mask_rcnn_tiedresnet50_fpn_2x.py --amp --cfg-options data_root=/data/coco',
    )
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
    return parser.parse_args()


def apply_options(cfg: Config, args) -> None:
    """Turn the options of training into settings."""
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


def main():
    """Run the command."""
    args = parse_args()
    setup_cache_size_limit_of_dynamo()
    cfg = launch.load_config(args)
    apply_options(cfg, args)
    launch.check_data(cfg, 'train', 'val')
    check_before_building(cfg)
    launch.build_runner(cfg).train()


if __name__ == '__main__':
    launch.run(main)
