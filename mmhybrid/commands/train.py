"""Train a detector: ``mmhybrid train configs/mask_rcnn_tiedresnet50_fpn_2x.py``."""

from mmhybrid import _stack

_stack.require_or_exit()

import argparse  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from functools import partial  # noqa: E402

from mmdet.utils import setup_cache_size_limit_of_dynamo  # noqa: E402

from mmhybrid import launch  # noqa: E402
from mmhybrid.early_checks import check_backbone_weights  # noqa: E402
from mmhybrid.engine.data_check import check_before_building  # noqa: E402
from mmhybrid.training_options import add_training_options, apply_training_options  # noqa: E402


def parse_args(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = launch.make_parser(
        'Train a detector.',
        'configs/mask_rcnn_tiedresnet50_fpn_2x.py --amp --cfg-options data_root=/data/coco',
        prog,
    )
    add_training_options(parser)
    return parser.parse_args(argv)


def _run(argv: Sequence[str] | None, prog: str) -> None:
    args = parse_args(argv, prog)
    setup_cache_size_limit_of_dynamo()
    cfg = launch.load_config(args)
    apply_training_options(cfg, args)
    launch.check_data(cfg, 'train', 'val')
    check_backbone_weights(cfg)
    check_before_building(cfg)
    launch.build_runner(cfg).train()


def main(argv: Sequence[str] | None = None, prog: str = 'mmhybrid train') -> None:
    """Run the command; ends the process with status 2 after one sentence if what the user gave cannot be used."""
    launch.run(partial(_run, argv, prog))
