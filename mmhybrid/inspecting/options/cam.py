"""Options of ``mmhybrid inspect cam``."""

from __future__ import annotations

import argparse

from mmhybrid.arguments import positive, share

from .base import Kind

GRAD, HIRES, EIGEN = METHODS = ('grad-cam', 'hires-cam', 'eigen-cam')


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--method',
        choices=METHODS,
        help='hires-cam multiplies gradient and activation at each position, so that it shows where the score comes '
        'from (default for detections); grad-cam weighs channels by their mean gradient (default for a classifier); '
        'eigen-cam is the first principal component of the activations, of no class and no detection',
    )
    parser.add_argument(
        '--detections', type=positive, default=3, metavar='N', help='of an image, the best ones (default: %(default)s)'
    )
    parser.add_argument(
        '--score-thr', type=share, default=0.3, metavar='S', help='least score of a detection (default: %(default)s)'
    )
    parser.add_argument(
        '--levels',
        nargs='+',
        default=[],
        metavar='LEVEL',
        help='such as backbone.2 or neck.0 (default: those of the neck; without one those of the backbone, and of a '
        'classifier the last)',
    )


KIND = Kind(
    help='where the score of a detection comes from',
    description='Class activation maps, as TBC, DSNet and HS-ResNet show them: Grad-CAM (Selvaraju et al., 2017), '
    'HiResCAM (Draelos and Carin, 2020) or Eigen-CAM (Muhammad and Yeasin, 2020), of single detections on each level '
    'of the neck or the backbone; of a classifier, for the class it predicts. Images are looked at one at a time, '
    'whatever --batch-size says, so that no map depends on what else is in a batch.',
    example='cam configs/mask_rcnn_tiedresnet50_fpn_2x.py work_dirs/run/epoch_24.pth --levels backbone.3 neck.0',
    images=4,
    annotated=False,
    options=_add,
)
