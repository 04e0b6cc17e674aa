"""The command ``mmhybrid export``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mmhybrid import _stack
from mmhybrid.arguments import Parser, add_config_options
from mmhybrid.errors import InputError
from mmhybrid.paths import expanded, given_config

from . import PARTS

_EXAMPLE = """example:
  mmhybrid export configs/mask_rcnn_tiedresnet50_fpn_2x.py work_dirs/run/epoch_24.pth --images photo1.jpg photo2.jpg

The file is compared in onnxruntime with MMDetection at two sizes; the exit status is 1, and nothing is written, if it
does not give the same. Whole detectors are RetinaNet, Faster and Mask R-CNN, Cascade R-CNN and Cascade Mask R-CNN;
--part neck exports the features of any other. docs/use.md says what goes in and comes out."""


def build_parser(prog: str = 'mmhybrid export') -> Parser:
    """The command's arguments."""
    parser = Parser(prog=prog, description='Write a detector as ONNX, checked in onnxruntime.', epilog=_EXAMPLE)
    parser.add_argument('config', metavar='CONFIG', help='config file')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint file')
    parser.add_argument('--out', type=Path, metavar='FILE.onnx', help='(default: beside the checkpoint)')
    parser.add_argument('--force', action='store_true', help='overwrite a file')
    parser.add_argument(
        '--part',
        choices=PARTS,
        default='detector',
        help='what to export (default: the whole detector)',
    )
    parser.add_argument('--opset', type=int, default=17, metavar='N', help='16 or newer (default: 17)')
    parser.add_argument(
        '--shape',
        type=_side,
        nargs=2,
        default=(320, 480),
        metavar=('H', 'W'),
        help='size to trace and to compare at first (default: 320 480); every size can be given to the file',
    )
    parser.add_argument(
        '--images', nargs='+', default=[], metavar='FILE', help='pictures to compare on (default: generated ones)'
    )
    add_config_options(parser)
    parser.set_defaults(launcher='none', local_rank=0, work_dir=None)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = 'mmhybrid export') -> int:
    """Run the command.

    Returns:
        0, or 1 if the file does not give what MMDetection gives.

    Raises:
        InputError: If what the user gave cannot be used.
    """
    args = build_parser(prog).parse_args(argv)
    target = _target(args)
    args.config = given_config(args.config)
    for path in args.images:
        if not Path(path).is_file():
            raise InputError(f'There is no {path} (from {Path.cwd()}); correct its path.')
    _stack.require()
    with _stack.quiet():
        import mmdet.evaluation  # noqa: F401
    for name in ('onnx', 'onnxruntime'):
        if find_spec(name) is None:
            raise InputError(f'{name} is not installed, which export needs: pip install onnx onnxruntime.')
    return _export(args, target)


def _export(args: argparse.Namespace, target: Path) -> int:
    from mmhybrid import launch
    from mmhybrid.checkpoints.files import write_durably
    from mmhybrid.early_checks import check_writable
    from mmhybrid.predicting.detector import Detector, require_boxes

    from . import checking
    from .onnx_file import resizing, to_onnx
    from .operators import FIRST_OPSET
    from .parts import Part

    if args.opset < FIRST_OPSET:
        raise InputError(f'--opset {args.opset} is too old: RoiAlign is as MMDetection has it from {FIRST_OPSET} on.')
    check_writable('--out', target, keep_folders=False)
    launch.check_checkpoint(args.checkpoint)
    cfg = launch.load_config(args)
    images = _images(args, checking.generated_image)
    if args.part == 'detector':
        require_boxes(cfg)
    detector = Detector(cfg, args.checkpoint, 'cpu')
    if args.part == 'detector':
        detector.check_classes()
    part = Part(detector.model, args.part).eval()
    resize = resizing(detector.cfg.test_dataloader.dataset.pipeline)
    start = time.monotonic()

    def traced() -> bytes:
        _tell(f'tracing {type(detector.model).__name__}, {args.part} ({time.monotonic() - start:.0f} s so far)')
        return to_onnx(part, _tensor(images[0]), args.opset, detector.classes, resize)

    def agrees(file: bytes) -> list[checking.Difference]:
        _tell(f'comparing in onnxruntime ({time.monotonic() - start:.0f} s so far)')
        differences = [checking.compare(part, file, image) for image in images]
        for each in differences:
            print(each)
        return differences

    file = traced()
    differences = agrees(file)
    if not any(each.compared for each in differences):
        # The file is the same but for one number, which can be so low that there is something to compare.
        threshold = checking.lower_threshold(part, images)
        print(f'Nothing was detected on these pictures: with score_thr={threshold:.1g} instead, for comparison alone')
        differences += agrees(traced())
    if not all(each.is_small for each in differences):
        print(f'error: The file does not give what MMDetection gives; {target} was not written.', file=sys.stderr)
        return 1
    if not any(each.compared for each in differences):
        raise InputError(
            f'Nothing is detected on these pictures, so that nothing could be compared, and {target} was not written: '
            'give pictures with --images on which the detector detects something.'
        )
    write_durably(file, target)
    print(f'wrote {target} ({len(file) / 1e6:.1f} MB, opset {args.opset}) in {time.monotonic() - start:.0f} s')
    return 0


def _target(args: argparse.Namespace) -> Path:
    part = '' if args.part == 'detector' else f'.{args.part}'
    if args.out is None and '://' in args.checkpoint:
        raise InputError('The checkpoint is a URL: name the file that is to be written with --out FILE.onnx.')
    target = args.out or expanded(args.checkpoint).with_suffix(f'{part}.onnx')
    if target.exists() and not args.force:
        raise InputError(f'{target} is there already: name another --out, or add --force.')
    return target


def _images(args: argparse.Namespace, generated) -> list:
    """The pictures to compare on, at two sizes at least."""
    import mmcv

    height, width = args.shape
    # Neither is a multiple of the padding, and one is upright.
    sizes = [(height, width), (width + 13, height - 7)]
    if not args.images:
        return [generated(*size, seed) for seed, size in enumerate(sizes)]
    pictures = []
    for path in args.images:
        picture = mmcv.imread(path)
        if picture is None:
            raise InputError(f'The image {path} cannot be read (it is not an image, or damaged); give another.')
        pictures.append(picture)
    pictures = pictures * 2 if len(pictures) == 1 else pictures
    return [mmcv.imresize(picture, sizes[i % 2][::-1]) for i, picture in enumerate(pictures)]


def _tensor(image):
    import torch

    return torch.from_numpy(image.transpose(2, 0, 1)[None].astype('float32'))


def _side(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 64 <= int(text) <= 8192:
        raise argparse.ArgumentTypeError(f'{text!r} is no side of an image in pixels, 64 to 8192')
    return int(text)


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
