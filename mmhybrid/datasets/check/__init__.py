"""What is wrong with a data set in COCO format, before it is trained on: ``mmhybrid data check``.

:func:`check_annotations` reads an annotation file alone and needs neither torch nor MMDetection.
"""

from .findings import KINDS, Finding
from .report import Report, check_annotations, open_images

__all__ = ['KINDS', 'Finding', 'Report', 'check_annotations', 'open_images']
