"""Options of ``mmhybrid inspect receptive-field``."""

from __future__ import annotations

import argparse

from mmhybrid.arguments import positive

from .base import Kind

SIZE = 512


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--levels',
        nargs='+',
        default=[],
        metavar='LEVEL',
        help='such as backbone.2 or neck.0 (default: all levels of the backbone and the neck)',
    )
    parser.add_argument(
        '--size',
        type=positive,
        default=SIZE,
        metavar='PIXELS',
        help='the middle of each image is taken, at most so many pixels a side, and of all images and models as many; '
        'the time grows with its square (default: %(default)s)',
    )


KIND = Kind(
    help='which pixels a feature depends on',
    description='The effective receptive field (Luo et al., 2016, arXiv 1701.04128): how much the feature in the '
    'middle of a map changes with each pixel, averaged over images, and the side of the square that holds 50% and '
    '95% of it; beside it the theoretical field, all pixels that reach the feature whatever the weights are.',
    example='receptive-field configs/mask_rcnn_tiedresnet50_fpn_2x.py work_dirs/run/epoch_24.pth',
    images=4,
    annotated=False,
    options=_add,
)
