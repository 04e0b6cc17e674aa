"""Options of ``mmhybrid inspect fgsm``."""

from __future__ import annotations

import argparse

from mmhybrid.arguments import share

from .base import Kind

EPSILONS = (0.0, 0.001, 0.002, 0.005, 0.01)


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--epsilons',
        nargs='+',
        type=share,
        default=list(EPSILONS),
        metavar='E',
        help='how far each pixel moves, of a range from 0 to 1; 0, the images as they are, is always among them '
        f'(default: {" ".join(f"{each:g}" for each in EPSILONS)})',
    )
    parser.add_argument(
        '--no-random',
        dest='random',
        action='store_false',
        help='leave out the control, as large steps with random signs; saves nearly half of the time',
    )


KIND = Kind(
    help='how accuracy falls under small adversarial changes',
    description='Accuracy of a classifier, or box AP of a detector by occlusion, after the fast gradient sign method '
    '(Goodfellow et al. 2015; HCGNet’s article uses it): x + epsilon * sign(gradient of the loss), cut to [0, 1], at '
    'several epsilons. The loss is that of the true labels: cross entropy, or the sum of a detector’s losses.',
    example='fgsm configs/mask_rcnn_tiedresnet50_fpn_2x.py work_dirs/run/epoch_24.pth --epsilons 0.001 0.005',
    images=64,
    annotated=True,
    options=_add,
)
