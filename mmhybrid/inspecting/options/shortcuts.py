"""Options of ``mmhybrid inspect shortcuts``."""

from __future__ import annotations

from .base import Kind

KIND = Kind(
    help='what the weights of dense shortcuts have become',
    description='Learnt weights of the dense shortcuts of DSNet, DS2Net and DS2Res2Net: for each stage a matrix of how '
    'much each block reads of each earlier output, beside the values that training started from; and those of the '
    'inner shortcuts. Needs no images.',
    example='shortcuts configs/mask_rcnn_dsnet50_fpn_1x.py work_dirs/run/epoch_12.pth',
    images=0,
    annotated=False,
)
