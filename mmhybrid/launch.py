"""What ``tools/train.py`` and ``tools/test.py`` share: arguments, the config, and checks before a long run.

The tools take MMDetection's options and hand a config to MMEngine's ``Runner``; this module adds what a user would
otherwise learn from a traceback.
"""

import argparse
import contextlib
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device

from mmhybrid.checkpoints import roads
from mmhybrid.checkpoints.reading import glance
from mmhybrid.engine import resuming
from mmhybrid.engine.workers import end_with_parent
from mmhybrid.errors import InputError
from mmhybrid.zoo import freezing

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.ENOTDIR, errno.EACCES, errno.EROFS, errno.EPERM, errno.ENAMETOOLONG)
_LOG_ERROR = logging.Handler.handleError


def make_parser(description: str, example: str) -> argparse.ArgumentParser:
    """Return a parser with the options that training and testing have in common."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f'example:\n  {example}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='where logs and results go (default: work_dirs/CONFIG)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. train_dataloader.batch_size=4. data_root=DIR and '
        'backbone_checkpoint=FILE change every setting that follows from them',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torchrun sets the environment variable; torch.distributed.launch passes the option.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Read ``args.config`` and apply the command line to it.

    Raises:
        InputError: If the file is missing or no valid config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise InputError(f'There is no config {args.config}; give the path of a .py file, e.g. one under configs/.')
    try:
        cfg = Config.fromfile(args.config)
    except SyntaxError as error:
        raise InputError(f'The config {args.config} is not valid Python: {error}.') from error
    options = dict(args.cfg_options)
    for name, change in _HANDLES.items():
        if name in options:
            if name not in cfg:
                raise InputError(f'{args.config} has no {name}, so --cfg-options {name}=... cannot apply to it.')
            change(cfg, options.pop(name))
    cfg.merge_from_dict(options)
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    _adapt_to_cpu(cfg)
    return cfg


def _set_data_root(cfg: Config, root: str) -> None:
    old, new = str(cfg.data_root), os.path.join(root, '')  # noqa: PTH118 (a path or a URL, with a closing slash)
    cfg.data_root = new
    for dataset in _datasets(cfg):
        if dataset.get('data_root') == old:
            dataset.data_root = new
    for evaluator in _evaluators(cfg):
        if str(evaluator.get('ann_file') or '').startswith(old):
            evaluator.ann_file = new + evaluator.ann_file.removeprefix(old)


def _set_backbone_checkpoint(cfg: Config, checkpoint: str | None) -> None:
    # The same rule as in the configs, which have been evaluated by now.
    cfg.backbone_checkpoint = checkpoint
    cfg.model.backbone.update(freezing(checkpoint))


# Variables at the top of a config that other settings were computed from when it was read.
_HANDLES: dict[str, Callable[[Config, str], None]] = {
    'data_root': _set_data_root,
    'backbone_checkpoint': _set_backbone_checkpoint,
}


def _datasets(cfg: Config, loaders: tuple[str, ...] = ('train', 'val', 'test')) -> Iterator[ConfigDict]:
    for loader in loaders:
        todo = [(cfg.get(f'{loader}_dataloader') or {}).get('dataset')]
        while todo:  # a data set may wrap another one, or several
            dataset = todo.pop()
            if isinstance(dataset, list):
                todo += dataset
            elif isinstance(dataset, dict):
                yield dataset
                todo += [dataset.get('dataset'), dataset.get('datasets')]


def _evaluators(cfg: Config) -> Iterator[ConfigDict]:
    for name in ('val_evaluator', 'test_evaluator'):
        evaluator = cfg.get(name) or []
        yield from evaluator if isinstance(evaluator, list) else [evaluator]


def check_data(cfg: Config, *loaders: str) -> None:
    """Check that the annotation files and image folders of some data loaders ('train', 'val', 'test') exist.

    Raises:
        InputError: Naming the first path that does not.
    """
    for dataset in _datasets(cfg, loaders):
        root = dataset.get('data_root') or ''
        for part in (dataset.get('ann_file'), *(dataset.get('data_prefix') or {}).values()):
            path = str(Path(root, part)) if part else ''
            if path and '://' not in root + part and not Path(path).exists():
                raise InputError(
                    f'The data set is not where the config says: {path} does not exist (from {Path.cwd()}); put it '
                    'there or point to it with --cfg-options data_root=DIR.'
                )


def check_checkpoint(path: str) -> None:
    """Raise ``InputError`` if ``path`` is neither a file nor a URL."""
    if '://' not in path and not Path(path).expanduser().is_file():
        raise InputError(f'There is no checkpoint {path}; give the path of a .pth file.')


def check_run(path: str) -> None:
    """Raise ``InputError`` if ``path`` is no file or URL, or a file that tells of weights alone."""
    check_checkpoint(path)
    if '://' not in path:
        source = Path(path).expanduser()
        try:
            checkpoint = glance(source)
        except Exception:  # what is wrong with it is told where it is read
            return
        resuming.require_run(checkpoint, path)


def _adapt_to_cpu(cfg: Config) -> None:
    # MMEngine's launchers assume a GPU for each process; gloo and DDP without device ids are their CPU counterparts.
    if get_device() != 'cpu' or cfg.launcher == 'none':
        return
    if cfg.launcher != 'pytorch':
        raise InputError(f'--launcher {cfg.launcher} needs GPUs, and none was found; on CPUs use torchrun.')
    torch.distributed.init_process_group('gloo')
    cfg.env_cfg.dist_cfg = dict(backend='gloo')
    cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


def run(main: Callable[[], None]) -> None:
    """Run a tool's ``main``; a user's mistake, or a full disk, becomes one sentence and exit status 2.

    Checkpoints hold weights and plain data only: MMEngine reads them through ``mmhybrid.checkpoints.roads``, and what
    calls ``torch.load`` by itself is kept from running code that a file brings, too.
    """
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    # Its opposite is what stock MMEngine is made to resume with; torch refuses to have both.
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    roads.install()
    # While nothing is trained; ResumableCheckpointHook has another answer.
    before = signal.signal(signal.SIGTERM, _end)
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        end_with_parent(signal.SIGTERM)  # or processes would go on when torchrun was killed
    logging.Handler.handleError = _handle_log_error
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(_say('ended by Ctrl-C.', 128 + signal.SIGINT))
    except InputError as error:
        sys.exit(_say(error))
    except OSError as error:
        if error.errno in _REFUSED and error.filename:
            sys.exit(_say(f'{error.filename} cannot be used ({error.strerror}); choose another place.'))
        if error.errno not in _FULL:
            raise
        where = error.filename or 'of the work dir or of temporary files'
        sys.exit(
            _say(f'No space is left on the disk ({error.strerror}: {where}); free some, or choose another --work-dir.')
        )
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
        logging.Handler.handleError = _LOG_ERROR
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _handle_log_error(handler: logging.Handler, record: logging.LogRecord) -> None:
    # A full disk is told once, by whoever cannot go on without writing, not by a traceback for each line of the log.
    error = sys.exc_info()[1]
    if not (isinstance(error, OSError) and error.errno in _FULL):
        _LOG_ERROR(handler, record)


def _end(signum: int, frame: object) -> None:
    sys.exit(128 + signum)


def _say(error: object, status: int = 2) -> int:
    with contextlib.suppress(OSError):  # at Ctrl-C its reader has ended, too
        print(f'error: {error}', file=sys.stderr, flush=True)
    return status
