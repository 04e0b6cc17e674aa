"""Figures of occlusion-stratified results, drawn with matplotlib's object interface: no pyplot, no global state."""

from .ap import ap_families, plot_ap
from .curves import QUALITY_PARTS, miss_rate_strata, plot_miss_rate, plot_quality
from .files import css_variables, to_bytes, to_inline
from .finding import finding
from .plots import ERROR_PARTS, RECALLS, plot_errors, plot_recall

__all__ = [
    'ERROR_PARTS', 'QUALITY_PARTS', 'RECALLS', 'ap_families', 'css_variables', 'finding', 'miss_rate_strata', 'plot_ap',
    'plot_errors', 'plot_miss_rate', 'plot_quality', 'plot_recall', 'to_bytes', 'to_inline',
]  # fmt: skip
