"""Options of ``mmhybrid inspect cka``."""

from __future__ import annotations

import argparse

from mmhybrid.arguments import positive

from .base import Kind


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--layers',
        nargs='+',
        default=[],
        metavar='LAYER',
        help='levels (backbone.0, neck.1, ...) or modules of backbone and neck by their names in the model '
        '(backbone.layer1.0); each model shows those that it has (default: all levels)',
    )
    parser.add_argument(
        '--grid',
        type=positive,
        default=4,
        metavar='G',
        help='feature maps are averaged over G x G parts of the image; 1 leaves out where things are (default: 4)',
    )


KIND = Kind(
    help='how alike the features of two models, or of the levels of one, are',
    description='Linear centered kernel alignment (CKA, Kornblith et al., 2019) of each level of the first model with\n'
    'each of another, or of the levels of one model: 1 for features that differ by a rotation and a scale, 0 for\n'
    'unrelated ones. An example is an image, its features the map averaged over a grid. Few images of many features\n'
    'bring the usual estimate near 1 whatever they are; this one is unbiased (HSIC after Song et al., 2012).',
    example='cka configs/mask_rcnn_tiedresnet50_fpn_2x.py a.pth --versus configs/mask_rcnn_resnet50_fpn_2x.py b.pth',
    images=32,
    annotated=False,
    options=_add,
)
