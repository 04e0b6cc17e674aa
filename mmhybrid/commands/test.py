"""Test a trained detector: ``mmhybrid test CONFIG CHECKPOINT``."""

from mmhybrid import _stack

_stack.require_or_exit()

import argparse  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from functools import partial  # noqa: E402

from mmdet.evaluation import DumpDetResults  # noqa: E402
from mmdet.utils import setup_cache_size_limit_of_dynamo  # noqa: E402
from mmengine.config import Config  # noqa: E402

from mmhybrid import launch, result_options  # noqa: E402
from mmhybrid.engine import FuseNormsHook  # noqa: E402


def parse_args(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = launch.make_parser(
        'Test a trained detector: COCO AP on all images and by how occluded they are.',
        'configs/mask_rcnn_tiedresnet50_fpn_2x.py work_dirs/run/epoch_24.pth --json-prefix work_dirs/run/val '
        '--cfg-options data_root=/data/coco',
        prog,
    )
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--json-prefix',
        metavar='PREFIX',
        help="write the detections in COCO's results format to PREFIX.bbox.json and PREFIX.segm.json",
    )
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions as a pickle, as MMDetection does')
    parser.add_argument(
        '--fuse', action='store_true', help='fold the batch norms into the convolutions first: the same AP, faster'
    )
    parser.add_argument('--show-dir', metavar='DIR', help='draw detections into WORK_DIR/<time>/DIR')
    return parser.parse_args(argv)


def apply_options(cfg: Config, args: argparse.Namespace) -> None:
    """Turn the options of testing into settings."""
    launch.check_checkpoint(args.checkpoint)
    cfg.load_from = args.checkpoint
    if args.out is not None:
        result_options.set_out(args.out)
    if args.json_prefix is not None:
        result_options.set_json_prefix(cfg, args.json_prefix)
    if args.show_dir is not None:
        result_options.set_show_dir(cfg, args.show_dir)


def _run(argv: Sequence[str] | None, prog: str) -> None:
    args = parse_args(argv, prog)
    setup_cache_size_limit_of_dynamo()
    cfg = launch.load_config(args)
    apply_options(cfg, args)
    launch.check_data(cfg, 'test')
    runner = launch.build_runner(cfg)
    if args.out is not None:
        runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=args.out))
    if args.fuse:
        runner.register_hook(FuseNormsHook())
    runner.test()


def main(argv: Sequence[str] | None = None, prog: str = 'mmhybrid test') -> None:
    """Run the command; ends the process with status 2 after one sentence if what the user gave cannot be used."""
    launch.run(partial(_run, argv, prog))
