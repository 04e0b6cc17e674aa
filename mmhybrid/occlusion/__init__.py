"""Occlusion-stratified COCO evaluation: does a detector hold up where instances cover one another?

Needs NumPy and pycocotools only, reads the results of any framework, and never imports torch.

    from mmhybrid.occlusion import evaluate, format_table
    results = evaluate('instances_val2017.json', 'results.bbox.json')
    print(format_table(results.values()))
    results['bbox'].bins[-1].ap

On the command line: ``mmhybrid occlusion {ratio,eval,compare,report}``. ``docs/occlusion.md`` has the definitions.
"""

from .analysis.comparison import Compared
from .analysis.details import Details
from .api import compare, evaluate, image_ratios
from .instance_strata import InstanceStratum, Range, instance_bins
from .matching import Metrics, Settings
from .ratios import covered_fractions, covered_ratio, max_iou, multi_ratio, pairwise_ratio
from .results import (
    Bootstrap,
    CategoryResult,
    Comparison,
    Difference,
    Errors,
    InstanceRecall,
    Interval,
    OcclusionResult,
    Quality,
    StratumResult,
    to_json,
)
from .selection import Selection
from .show.markdown import to_markdown
from .show.records import category_frame, difference_frame, instance_frame, quality_frame, strata_frame, to_csv
from .show.terminal import format_table, print_comparison, print_table
from .strata import Measure, Stratum, all_images, bins, coco_occ, cumulative, groups, tbc

__all__ = [
    'Bootstrap', 'CategoryResult', 'Compared', 'Comparison', 'Details', 'Difference', 'Errors', 'InstanceRecall',
    'InstanceStratum', 'Interval', 'Measure', 'Metrics', 'OcclusionResult', 'Quality', 'Range', 'Selection', 'Settings',
    'Stratum', 'StratumResult', 'all_images', 'bins', 'category_frame', 'coco_occ', 'compare', 'covered_fractions',
    'covered_ratio', 'cumulative', 'difference_frame', 'evaluate', 'format_table', 'groups', 'image_ratios',
    'instance_bins', 'instance_frame', 'max_iou', 'multi_ratio', 'pairwise_ratio', 'print_comparison', 'print_table',
    'quality_frame', 'strata_frame', 'tbc', 'to_csv', 'to_json', 'to_markdown',
]  # fmt: skip
