"""Options of ``mmhybrid inspect filters``."""

from __future__ import annotations

import argparse

from mmhybrid.arguments import positive

from .base import Kind

BY, REDUCE = ('patterns', 'weights'), ('sum', 'max')
FILTERS, SIDE = 20, 224


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--by',
        choices=BY,
        default=BY[0],
        help='compare guided back-propagation patterns, or the weights themselves, which takes seconds '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--layers',
        nargs='+',
        default=[],
        metavar='NAME',
        help='modules of the model, such as backbone.layer4.2.conv2 (default: of eight blocks through the depth of the '
        'backbone the widest convolution with a kernel above 1x1)',
    )
    parser.add_argument(
        '--filters',
        type=positive,
        default=FILTERS,
        metavar='N',
        help='filters of a layer, drawn by --seed (default: %(default)s)',
    )
    parser.add_argument(
        '--reduce',
        choices=REDUCE,
        default=REDUCE[0],
        help='whose pattern is taken: of the sum of the positive responses of a filter over all positions, or of the '
        'largest one (default: %(default)s)',
    )
    parser.add_argument(
        '--side',
        type=positive,
        default=SIDE,
        metavar='PIXELS',
        help='images with a longer side are shrunk to it; the time grows with its square (default: %(default)s)',
    )


KIND = Kind(
    help='how alike the filters of a layer are, by depth',
    description='How redundant filters are (TBC, arXiv 2009.12021, Fig. 1 and 9): cosine similarity of each two '
    'filters of a layer. A filter is compared by its guided back-propagation pattern (Springenberg et al., arXiv '
    '1412.6806), which shows what in an image it responds to, and the similarity is averaged over images; or by its '
    'weights.',
    example='filters configs/mask_rcnn_tiedresnet50_fpn_2x.py work_dirs/run/epoch_24.pth',
    images=4,
    annotated=False,
    options=_add,
    needs_images=lambda args: args.by == 'patterns',
)
