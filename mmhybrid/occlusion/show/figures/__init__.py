"""Figures of occlusion-stratified results, drawn with matplotlib's object interface: no pyplot, no global state.

Each ``plot_*`` function returns a ``matplotlib.figure.Figure``; :func:`save` writes it.
"""

from .ap import plot_ap
from .errors import plot_errors
from .files import is_ours, save, to_bytes, to_svg
from .recall import plot_recall

__all__ = ['is_ours', 'plot_ap', 'plot_errors', 'plot_recall', 'save', 'to_bytes', 'to_svg']
