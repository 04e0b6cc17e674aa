"""Pre-train a backbone: ``mmhybrid pretrain configs/pretrain/in1k.py --backbone tiedresnet50``."""

from mmhybrid import _stack

_stack.require_or_exit()

import argparse  # noqa: E402
import os  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402

from mmdet.utils import setup_cache_size_limit_of_dynamo  # noqa: E402
from mmengine.config import Config  # noqa: E402

from mmhybrid import launch  # noqa: E402
from mmhybrid.early_checks import check_backbone_weights  # noqa: E402
from mmhybrid.errors import InputError  # noqa: E402
from mmhybrid.pretraining import folders, provenance, variables  # noqa: E402
from mmhybrid.training_options import add_training_options, apply_training_options  # noqa: E402


def parse_args(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = launch.make_parser(
        'Train a backbone to classify pictures, DATA_ROOT/train/CLASS/*.jpg, for its weights.',
        'configs/pretrain/cifar10.py --backbone tiedresnet50 --cfg-options data_root=/data/cifar10 max_epochs=30',
        prog,
    )
    parser.add_argument(
        '--backbone',
        metavar='NAME',
        help="a name of `mmhybrid models`, or MMDetection's resnet18 to resnet152, resnext50, res2net50 or resnest50 "
        "(default: the config's backbone_name); --cfg-options model.backbone.KEY=VALUE changes its arguments",
    )
    add_training_options(parser)
    return parser.parse_args(argv)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and apply the command line, the backbone first.

    Raises:
        InputError: If the config is no pre-training config, or an option cannot apply.
    """
    if args.backbone is not None:
        if 'backbone_name' in args.cfg_options:
            raise InputError('--backbone and --cfg-options backbone_name=... say the same: give one of them.')
        args.cfg_options = {'backbone_name': args.backbone, **args.cfg_options}
    cfg = launch.load_config(args)
    if not variables.concerns(cfg) or 'backbone_name' not in cfg:
        raise InputError(
            f'{args.config} is no pre-training config (model type ImageClassifier, with a backbone_name): take one '
            'of configs/pretrain, or `mmhybrid train` for a detector.'
        )
    if args.work_dir is None and cfg.work_dir == str(Path('work_dirs', Path(args.config).stem)):
        cfg.work_dir += f'_{cfg.backbone_name}'
    # For the record in the checkpoints; a config that a run dumped has those of that run.
    cfg.recipe_options = {**(cfg.get('recipe_options') or {}), **provenance.options(args)}
    return cfg


def check_data(cfg: Config) -> None:
    """Compare the folders of classes with each other and with the classifier, before anything is built.

    Raises:
        InputError: If they are not there, empty or different, or if the pictures fill no batch.
    """
    found = {}
    for loader in ('train', 'val'):
        dataset = (cfg.get(f'{loader}_dataloader') or {}).get('dataset') or {}
        if str(dataset.get('type')).rpartition('.')[2] == 'ImageFolder':
            found[loader] = folders.class_names(folders.part_folder(dataset.data_root, dataset.folder))
    if 'train' in found:
        folders.check_classes(found['train'], found.get('val', found['train']), cfg.model.head.num_classes)
        loader = cfg.train_dataloader
        if loader.get('drop_last') and isinstance(loader.get('batch_size'), int):
            folder, pictures = folders.part_folder(loader.dataset.data_root, loader.dataset.folder), 0
            for name in found['train']:
                pictures += len(folders.pictures(folder, name)[0])
                if pictures >= loader.batch_size * processes(cfg.launcher):
                    return
            folders.check_batch(pictures, loader.batch_size, processes(cfg.launcher))


def processes(launcher: str) -> int:
    """How many processes a launcher has started, before they meet."""
    variable = dict(pytorch='WORLD_SIZE', slurm='SLURM_NTASKS', mpi='OMPI_COMM_WORLD_SIZE').get(launcher, '')
    return int(os.environ.get(variable, 1))


def _run(argv: Sequence[str] | None, prog: str) -> None:
    args = parse_args(argv, prog)
    setup_cache_size_limit_of_dynamo()
    cfg = load_config(args)
    apply_training_options(cfg, args)
    check_data(cfg)
    check_backbone_weights(cfg)
    launch.build_runner(cfg).train()


def main(argv: Sequence[str] | None = None, prog: str = 'mmhybrid pretrain') -> None:
    """Run the command; ends the process with status 2 after one sentence if what the user gave cannot be used."""
    launch.run(partial(_run, argv, prog))
