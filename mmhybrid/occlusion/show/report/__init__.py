"""An evaluation as one HTML page: the answer, figures, tables and pictures, without any request to elsewhere.

from mmhybrid.occlusion.show.report import write_report
write_report(results.values(), 'report.html')
"""

from .gallery import make_gallery
from .page import render_report, write_report
from .pictures import GalleryGroup, GalleryImage, draw_gallery_image

__all__ = ['GalleryGroup', 'GalleryImage', 'draw_gallery_image', 'make_gallery', 'render_report', 'write_report']
