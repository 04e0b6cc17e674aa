#!/usr/bin/env python3
"""Evaluate COCO results by how occluded the images are. ``--help`` has an example."""

import sys

from mmhybrid.occlusion.cli import main_eval

if __name__ == '__main__':
    sys.exit(main_eval())
