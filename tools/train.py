"""Train a detector: ``python tools/train.py configs/mask_rcnn_tiedresnet50_fpn_2x.py``."""

from mmhybrid import _stack

_stack.require_or_exit()

from mmdet.utils import setup_cache_size_limit_of_dynamo  # noqa: E402

from mmhybrid import launch  # noqa: E402
from mmhybrid.early_checks import check_backbone_weights  # noqa: E402
from mmhybrid.engine.data_check import check_before_building  # noqa: E402
from mmhybrid.training_options import add_training_options, apply_training_options  # noqa: E402


def parse_args():
    """Read the command line."""
    parser = launch.make_parser(
        'Train a detector.',
        'python tools/train.py configs/mask_rcnn_tiedresnet50_fpn_2x.py --amp --cfg-options data_root=/data/coco',
    )
    add_training_options(parser)
    return parser.parse_args()


def main():
    """Run the command."""
    args = parse_args()
    setup_cache_size_limit_of_dynamo()
    cfg = launch.load_config(args)
    apply_training_options(cfg, args)
    launch.check_data(cfg, 'train', 'val')
    check_backbone_weights(cfg)
    check_before_building(cfg)
    launch.build_runner(cfg).train()


if __name__ == '__main__':
    launch.run(main)
