"""Figures of occlusion-stratified results, drawn with matplotlib's object interface: no pyplot, no global state.

Each ``plot_*`` function returns a ``matplotlib.figure.Figure``; :func:`save` writes it, :func:`to_inline` makes it part
of a page.
"""

from .curves import RECALLS, ap_families, plot_ap, plot_recall
from .errors import PARTS as ERROR_PARTS
from .errors import plot_errors
from .files import css_variables, is_ours, save, to_bytes, to_inline

__all__ = [
    'ERROR_PARTS', 'RECALLS', 'ap_families', 'css_variables', 'is_ours', 'plot_ap', 'plot_errors', 'plot_recall',
    'save', 'to_bytes', 'to_inline',
]  # fmt: skip
