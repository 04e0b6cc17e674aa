"""Options of ``mmhybrid inspect gates``."""

from __future__ import annotations

import argparse

from mmhybrid.arguments import positive

from .base import Kind


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--draw', type=positive, default=4, metavar='N', help='images over which attention is drawn (default: 4)'
    )


KIND = Kind(
    help='what gates and attention let through',
    description='Gates of HCGNet (update and forget), SE, TiedSE, SaE and split attention, and where global context '
    'and HCGNet’s pooling attend, module by module: how open a gate is, how much that depends on the image, and how '
    'far attention is from a plain mean. MMDetection’s SELayer, ChannelAttention, ContextBlock and ResNeSt count too.',
    example='gates configs/mask_rcnn_hcgnet_b_fpn_1x.py work_dirs/run/epoch_12.pth',
    images=16,
    annotated=False,
    options=_add,
)
