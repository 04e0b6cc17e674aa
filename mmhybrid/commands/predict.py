"""Detect on one's own pictures: ``mmhybrid predict IMAGES... CONFIG CHECKPOINT``."""

from mmhybrid import _stack

_stack.require_or_exit()

import argparse  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402

from mmhybrid import launch  # noqa: E402
from mmhybrid.arguments import Parser, add_config_options, positive, share  # noqa: E402
from mmhybrid.datasets._workers import progress_reporter  # noqa: E402
from mmhybrid.early_checks import check_writable  # noqa: E402
from mmhybrid.errors import InputError  # noqa: E402
from mmhybrid.paths import PREFIX  # noqa: E402
from mmhybrid.predicting.detector import Detector, device_of, require_boxes  # noqa: E402
from mmhybrid.predicting.drawing import Drawing  # noqa: E402
from mmhybrid.predicting.ids import Ids  # noqa: E402
from mmhybrid.predicting.pictures import IMAGES, VIDEOS, Frames, Picture, Source, find, size_of  # noqa: E402
from mmhybrid.predicting.results import BOXES, Results  # noqa: E402
from mmhybrid.text import clean, plural  # noqa: E402

_CONFIGS = ('.py', '.yml', '.yaml', '.json')


def parse_args(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(
        prog=prog,
        description='Detect on pictures and videos: boxes and masks are drawn, and written in the COCO results format.',
        usage='%(prog)s [options] IMAGES [IMAGES ...] CONFIG CHECKPOINT',
        epilog=f'example:\n  {prog} photos/ configs/mask_rcnn_tiedresnet50_fpn_2x.py work_dirs/run/epoch_24.pth '
        '--out-dir work_dirs/photos\n\n'
        'The exit status is 1 if some pictures could not be read; the results of the others are kept.\n'
        'docs/use.md says what is written.',
    )
    parser.add_argument(
        'words',
        nargs='+',
        metavar='IMAGES ... CONFIG CHECKPOINT',
        help='pictures, folders of them, quoted patterns such as "photos/*.jpg" or videos; then the config file and '
        'the checkpoint file',
    )
    parser.add_argument('--out-dir', type=Path, metavar='DIR', help='where all goes (default: work_dirs/predict/TIME)')
    parser.add_argument('--force', action='store_true', help='write into a folder that has files')
    parser.add_argument('--batch-size', type=positive, default=1, metavar='N', help='pictures at a time (default: 1)')
    parser.add_argument('--device', default='auto', help='cpu, cuda:0, ... (default: a GPU where there is one)')
    parser.add_argument(
        '--score-thr',
        type=share,
        default=0.3,
        metavar='SCORE',
        help='draw detections with a score above this (default: 0.3); files get all that the config keeps',
    )
    parser.add_argument('--no-draw', action='store_true', help='write the detections only')
    parser.add_argument(
        '--ann', metavar='FILE', help='COCO annotation file whose ids of images and categories are to be written'
    )
    parser.add_argument('--every', type=positive, default=1, metavar='N', help='take every N-th frame of a video')
    parser.add_argument('--frames', action='store_true', help="draw a video's frames as pictures, not as a video")
    parser.add_argument('--fuse', action='store_true', help='fold the batch norms into the convolutions: faster')
    add_config_options(parser)
    parser.set_defaults(launcher='none', local_rank=0, work_dir=None)
    args = parser.parse_args(argv)
    if len(args.words) < 3:
        parser.error(f'IMAGES ... CONFIG CHECKPOINT are needed, three or more, and {len(args.words)} were given')
    *args.images, args.config, args.checkpoint = args.words
    _check_order(args)
    return args


def _check_order(args: argparse.Namespace) -> None:
    media = (*IMAGES, *VIDEOS)
    is_config = args.config.lower().endswith(_CONFIGS) or args.config.startswith(PREFIX)
    if not is_config or args.checkpoint.lower().endswith((*media, *_CONFIGS)):
        raise InputError(
            f'The last two arguments are the config and the checkpoint, in this order, and these are {args.config} and '
            f'{args.checkpoint}; the order is IMAGES ... CONFIG CHECKPOINT.'
        )


def _out_dir(args: argparse.Namespace) -> Path:
    folder = args.out_dir or Path('work_dirs', 'predict', time.strftime('%Y%m%d_%H%M%S'))
    if not args.force and folder.is_dir() and any(folder.iterdir()):
        raise InputError(f'{folder} has files, which would be overwritten: choose another --out-dir, or add --force.')
    check_writable('--out-dir', folder / BOXES, keep_folders=False)  # a run may yet be refused
    return folder


def _videos(sources: list[Source], every: int, failed: list[str]) -> dict[str, Frames]:
    videos = {}
    for source in sources:
        if source.is_video:
            try:
                videos[source.name] = Frames(source, every)
            except InputError as error:
                failed.append(str(error))
    return videos


def _pictures(sources: list[Source], videos: dict[str, Frames], failed: list[str]):
    for source in sources:
        if not source.is_video:
            yield Picture(source, source.name, str(source.path))
        elif source.name in videos:
            try:
                yield from videos[source.name]
            except InputError as error:  # what came before it is kept
                failed.append(str(error))


def _places(sources: list[Source], videos: dict[str, Frames]):
    """Where the pictures and frames are, and what gives their sizes."""
    for source in sources:
        if not source.is_video:
            yield source.path, partial(size_of, source.path)
        elif source.name in videos:
            frames = videos[source.name]
            yield from ((place, lambda size=frames.size: size) for place in frames.places())


def _run(argv: Sequence[str] | None, prog: str) -> None:
    args = parse_args(argv, prog)
    failed: list[str] = []
    folder = _out_dir(args)
    left_out: list[str] = []
    sources = find(args.images, folder / 'drawn', left_out)
    for sentence in left_out:
        print(f'note: {clean(sentence)}', file=sys.stderr)
    launch.check_checkpoint(args.checkpoint)
    cfg = launch.load_config(args)
    require_boxes(cfg)
    device = device_of(args.device)
    videos = _videos(sources, args.every, failed)
    detector = Detector(cfg, args.checkpoint, device, args.fuse)
    detector.check_classes()
    ids = Ids(detector.classes, args.ann)
    ids.check(_places(sources, videos))
    results = Results(ids)
    drawing = None if args.no_draw else Drawing(detector.visualizer, folder / 'drawn', args.score_thr, args.frames)
    total = sum(not source.is_video for source in sources) + sum(map(len, videos.values()))
    start, finished = time.monotonic(), False
    try:
        with progress_reporter(max(total, 1), 'pictures', enabled=True) as done:
            for picture, sample in detector.predict(_pictures(sources, videos, failed), args.batch_size, failed):
                image = results.add(picture, sample)
                if drawing is not None:
                    video = videos.get(picture.source.name)
                    path = drawing.draw(picture, sample, video and video.fps)
                    image['drawn'] = path.relative_to(folder).as_posix()
                done(1)
        finished = True
    finally:  # also after Ctrl-C, or when memory was too small for one of them
        if drawing is not None:
            drawing.close()
        written = results.write(folder, complete=finished and not failed) if results.images else []
        for sentence in failed:
            print(f'error: {clean(sentence)}', file=sys.stderr)
        shown = sum(record['score'] > args.score_thr for record in results.boxes)
        number = len(results.images)
        print(
            plural(number, 'picture') if finished and not failed else f'{number} of {plural(total, "picture")}',
            plural(len(results.boxes), 'detection'),
            f'{shown} with a score above {args.score_thr:g}',
            f'in {time.monotonic() - start:.1f} s on {device}',
            sep=', ',
        )
        for path in [*written, *([folder / 'drawn'] if drawing is not None and results.images else [])]:
            print(f'wrote {clean(str(path))}')
    if failed:
        raise SystemExit(1)


def main(argv: Sequence[str] | None = None, prog: str = 'mmhybrid predict') -> None:
    """Run the command; ends the process with status 2 after one sentence if what the user gave cannot be used."""
    launch.run(partial(_run, argv, prog))
