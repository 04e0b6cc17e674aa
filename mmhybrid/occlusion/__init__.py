"""Occlusion-stratified COCO evaluation: does a detector hold up where instances cover one another?

Needs NumPy and pycocotools only, reads the results of any framework, and never imports torch.

    from mmhybrid.occlusion import evaluate, format_table
    results = evaluate('instances_val2017.json', 'results.bbox.json')
    print(format_table(results.values()))
    results['bbox'].bins[-1].ap

On the command line: ``tools/eval_occlusion.py``.
"""

from .api import evaluate, image_ratios
from .engine import Metrics
from .figure import plot, save_figure
from .ratio import covered_fractions, covered_ratio
from .results import OcclusionResult, StratumResult, to_json
from .strata import Stratum, all_images, bins, cumulative, tbc
from .table import format_table, print_table

__all__ = [
    'Metrics',
    'OcclusionResult',
    'Stratum',
    'StratumResult',
    'all_images',
    'bins',
    'covered_fractions',
    'covered_ratio',
    'cumulative',
    'evaluate',
    'format_table',
    'image_ratios',
    'plot',
    'print_table',
    'save_figure',
    'tbc',
    'to_json',
]
