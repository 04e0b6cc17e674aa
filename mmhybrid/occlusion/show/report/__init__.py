"""An evaluation as one HTML page: the answer, figures, tables and pictures, without any request to elsewhere."""

from .gallery import make_gallery
from .page import render_report
from .pictures import GalleryGroup, GalleryImage, Shown, draw_gallery_image

__all__ = ['GalleryGroup', 'GalleryImage', 'Shown', 'draw_gallery_image', 'make_gallery', 'render_report']
