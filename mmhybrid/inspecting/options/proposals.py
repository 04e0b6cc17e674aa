"""Options of ``mmhybrid inspect proposals``."""

from __future__ import annotations

import argparse

from mmhybrid.arguments import positive, share

from .base import Kind


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--score-thr',
        type=share,
        default=0.3,
        metavar='S',
        help='boxes of a class count above this score, or above the detector’s own test_cfg.score_thr if that is '
        'higher (default: %(default)s)',
    )
    parser.add_argument(
        '--iou-thr',
        type=_overlap,
        default=0.5,
        metavar='IOU',
        help='from this overlap on, a box belongs to an instance (default: %(default)s)',
    )
    parser.add_argument(
        '--draw',
        type=positive,
        default=2,
        metavar='N',
        help='images to draw, those with the most occluded instances (default: %(default)s)',
    )


def _overlap(text: str) -> float:
    value = share(text)
    if not value:
        raise argparse.ArgumentTypeError('0 would make every box belong to an instance; give more, such as 0.5')
    return value


KIND = Kind(
    help='what competes for each instance as occlusion grows',
    description='Counts, for each annotated instance, the proposals of the RPN, the boxes that the detector scores '
    'above --score-thr before non-maximum suppression (NMS), and what is left after it, by the share of the instance '
    'that others cover: missed, found once, found more than once, or suppressed, i.e. found before NMS only (after '
    'TBC, Fig. 7c). Also the level of the FPN: for proposals and boxes of one stage, that of the anchor or point that '
    'made them; for boxes of two stages, that which their regions of interest were pooled from.',
    example='proposals configs/mask_rcnn_tiedresnet50_fpn_2x.py work_dirs/run/epoch_24.pth',
    images=100,
    annotated=True,
    options=_add,
)
