"""What ``mmhybrid train``, ``test`` and other commands share: arguments, the config, and checks before a long run.

The tools take MMDetection's options and hand a config to MMEngine's ``Runner``; this module adds what a user would
otherwise learn from a traceback.
"""

import argparse
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import RUNNERS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from mmhybrid import config_bases, mistakes
from mmhybrid.arguments import Parser, add_config_options
from mmhybrid.checkpoints import roads
from mmhybrid.checkpoints.reading import glance
from mmhybrid.config_options import apply_options, datasets
from mmhybrid.early_checks import check_launcher, check_neck, name_unreadable_images
from mmhybrid.engine import resuming
from mmhybrid.engine.unwrapping import unwrapped
from mmhybrid.engine.workers import end_with_parent
from mmhybrid.errors import InputError
from mmhybrid.guards import add_guards
from mmhybrid.paths import expanded, given_config

_LOG_ERROR = logging.Handler.handleError


def make_parser(description: str, example: str, prog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser with the options that training and testing have in common.

    Args:
        description: What the command does.
        example: Arguments as in an example of the command.
        prog: The command, e.g. ``'mmhybrid train'``; None for the name of the script.
    """
    parser = Parser(prog=prog, description=description, epilog=f'example:\n  {prog or "%(prog)s"} {example}')
    parser.add_argument('config', help='config file, or mmhybrid::NAME, one that this package brings')
    parser.add_argument('--work-dir', help='where logs and results go (default: work_dirs/CONFIG)')
    add_config_options(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='job launcher')
    # torchrun sets the environment variable; torch.distributed.launch passes the option.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Read ``args.config``, which becomes the path of a file, and apply the command line to it.

    Raises:
        InputError: If the file is missing, an option leads nowhere or the launcher is another one.
        Exception: Of any kind, if the config is not valid, which :func:`run` tells.
    """
    check_launcher(args.launcher)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    args.config = given_config(args.config)
    config_bases.install()
    cfg = Config.fromfile(args.config)
    apply_options(cfg, args.cfg_options, args.config)
    add_guards(cfg, args.allow_missing, getattr(args, 'on_nonfinite', None))
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    _adapt_to_cpu(cfg)
    return cfg


def check_data(cfg: Config, *loaders: str) -> None:
    """Check that the annotation files and image folders of some data loaders ('train', 'val', 'test') exist.

    Raises:
        InputError: Naming the first path that does not.
    """
    for dataset in datasets(cfg, loaders):
        if (dataset.get('backend_args') or {}).get('backend', 'local') not in ('local', 'disk'):
            continue
        root, prefix = dataset.get('data_root') or '', dataset.get('data_prefix')
        for part in (dataset.get('ann_file'), *(prefix.values() if isinstance(prefix, dict) else [prefix])):
            if not part or not isinstance(part, str) or not isinstance(root, str) or '://' in root + part:
                continue
            path = Path(root, part)
            if not path.exists():
                raise InputError(
                    f'The data set is not where the config says: {path} does not exist (from {Path.cwd()}); put it '
                    'there or point to it with --cfg-options data_root=DIR.'
                )


def check_checkpoint(path: str) -> None:
    """Raise ``InputError`` if ``path`` is neither a file nor a URL."""
    if '://' not in path and not expanded(path).is_file():
        raise InputError(f'There is no checkpoint {path}; give the path of a .pth file.')


def check_run(path: str) -> None:
    """Raise ``InputError`` if ``path`` is no file or URL, or a file that tells of weights alone."""
    check_checkpoint(path)
    if '://' not in path:
        source = expanded(path)
        try:
            checkpoint = glance(source)
        except Exception:  # what is wrong with it is told where it is read
            return
        resuming.require_run(checkpoint, path)


def build_runner(cfg: Config) -> Runner:
    """Make MMEngine's runner, with the model, and check what can be checked before it runs.

    Raises:
        InputError: If there is no model, or if the channels of the model's neck are not those of its backbone.
    """
    if cfg.get('model') is None:
        raise InputError('The config has no model = dict(...), so there is nothing to run.')
    name_unreadable_images()
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    check_neck(unwrapped(runner.model))
    return runner


def _adapt_to_cpu(cfg: Config) -> None:
    # MMEngine's launchers assume a GPU for each process; gloo and DDP without device ids are their CPU counterparts.
    if get_device() != 'cpu' or cfg.launcher == 'none':
        return
    if cfg.launcher != 'pytorch':
        raise InputError(f'--launcher {cfg.launcher} needs GPUs, and none was found; on CPUs use torchrun.')
    env_cfg = cfg.get('env_cfg') or {}
    settings = {**(env_cfg.get('dist_cfg') or {}), 'backend': 'gloo'}
    cfg.env_cfg = {**env_cfg, 'dist_cfg': settings}
    seconds = settings.get('timeout')
    torch.distributed.init_process_group('gloo', timeout=seconds and timedelta(seconds=seconds))
    cfg.model_wrapper_cfg = _cpu_wrapper(cfg)


def _cpu_wrapper(cfg: Config) -> dict[str, Any]:
    """The config's ``model_wrapper_cfg``, or what MMEngine does without one, for a model on a CPU."""
    unused = cfg.get('find_unused_parameters', False)
    wrapper = cfg.get('model_wrapper_cfg') or dict(broadcast_buffers=False, find_unused_parameters=unused)
    wrapper.setdefault('type', 'MMDistributedDataParallel')
    kind = MODEL_WRAPPERS.get(wrapper['type']) if isinstance(wrapper['type'], str) else wrapper['type']
    if isinstance(kind, type) and issubclass(kind, DistributedDataParallel):
        wrapper['device_ids'] = None
    return wrapper


def run(main: Callable[[], None]) -> None:
    """Run a tool's ``main``; a user's mistake becomes one sentence and exit status 2 (:mod:`mmhybrid.mistakes`).

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
        sys.stdout.flush()  # here, where a full disk can still be told
    except (Exception, KeyboardInterrupt) as error:
        status = mistakes.tell(error)
        if status is None:
            raise
        sys.exit(status)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
        logging.Handler.handleError = _LOG_ERROR
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _handle_log_error(handler: logging.Handler, record: logging.LogRecord) -> None:
    # A full disk is told once, by whoever cannot go on without writing, not by a traceback for each line of the log;
    # and a run goes on when what reads its output has ended.
    error = sys.exc_info()[1]
    if not (isinstance(error, OSError) and error.errno in (*mistakes.FULL, errno.EPIPE)):
        _LOG_ERROR(handler, record)


def _end(signum: int, frame: object) -> None:
    sys.exit(128 + signum)
