"""An evaluation as one HTML page: summary, figures, tables and pictures, without any request to elsewhere.

from mmhybrid.occlusion.show.report import write_report
write_report(results.values(), 'report.html')
"""

from .gallery import GalleryGroup, GalleryImage, draw_gallery_image
from .page import render_report, write_report

__all__ = ['GalleryGroup', 'GalleryImage', 'draw_gallery_image', 'render_report', 'write_report']
