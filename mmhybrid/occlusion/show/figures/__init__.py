"""Figures of occlusion-stratified results, drawn with matplotlib's object interface: no pyplot, no global state."""

from .files import css_variables, to_bytes, to_inline
from .plots import ERROR_PARTS, RECALLS, ap_families, plot_ap, plot_errors, plot_recall

__all__ = [
    'ERROR_PARTS', 'RECALLS', 'ap_families', 'css_variables', 'plot_ap', 'plot_errors', 'plot_recall', 'to_bytes',
    'to_inline',
]  # fmt: skip
