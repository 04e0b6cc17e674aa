#!/usr/bin/env python3
"""Draw the pictures of docs/occlusion.md. ``--help`` has an example."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path

import numpy as np

from mmhybrid.occlusion import (
    Interval,
    Measure,
    OcclusionResult,
    StratumResult,
    all_images,
    bins,
    covered_fractions,
    covered_ratio,
    max_iou,
    multi_ratio,
    pairwise_ratio,
)
from mmhybrid.occlusion.show import figures
from mmhybrid.occlusion.show.figures.style import LIGHT, drawing, new_figure

DOCS = Path(__file__).resolve().parents[1] / 'docs'
EDGES = (0, 0.2, 0.4, 1)  # of the worked example's command
# Boxes as x, y, width, height on a canvas of 12 x 8.
SCENES = {
    'apart': [(1, 2, 4, 4), (7, 2, 4, 4)],
    'half over each other': [(2, 2, 5, 4), (4.5, 2, 5, 4)],
    'two identical': [(3, 2, 6, 4), (3, 2, 6, 4)],
    'four identical': [(3, 2, 6, 4)] * 4,
    'one small in a large': [(1, 1, 10, 6), (7, 3.5, 3, 2.5)],
    'a heap': [(1, 1, 5, 4), (3, 2.5, 5, 4), (5, 1.5, 5, 4), (8.5, 4.5, 3, 2.5)],
}


def main() -> None:
    """Write ``occlusion_definitions.svg`` and ``occlusion_example.png``."""
    parser = argparse.ArgumentParser(
        description='Draw the worked examples of the definitions, with the numbers that the code gives, and the AP of '
        'three detectors, with the numbers that docs/occlusion.md prints: their results are not in the repository.',
        epilog='example:\n  python tools/make_occlusion_docs.py',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--out-dir', type=Path, default=DOCS / 'images', metavar='DIR', help='default: docs/images')
    args = parser.parse_args()
    args.out_dir.mkdir(parents=True, exist_ok=True)
    example = figures.plot_ap(printed_results((DOCS / 'occlusion.md').read_text(encoding='utf-8')))
    for name, figure in (('occlusion_definitions.svg', definitions()), ('occlusion_example.png', example)):
        path = args.out_dir / name
        path.write_bytes(figures.to_bytes(figure, path.suffix[1:]))
        print(f'wrote {args.out_dir / name}')


def printed_results(text: str) -> list[OcclusionResult]:
    """What the table of models in a document says: AP with intervals on every stratum, to a tenth of a point."""
    title = 'bbox AP in %, by occlusion ratio r (covered, bbox)'
    if title not in text:
        raise SystemExit(f'no table is called {title!r}; print the one of docs/occlusion.md again.')
    heading, _, *lines = text.split(title, 1)[1].strip().split('\n* ')[0].splitlines()
    table = {}
    for line in filter(None, lines):
        stratum, images, *values = re.split(r' {2,}', line.replace(' *', '  ', 1).strip())
        table[stratum] = int(images), [[float(each) / 100 for each in re.findall(r'[\d.]+', v)] for v in values]
    results = []
    for i, name in enumerate(heading.split()[2:]):
        rows = []
        for stratum in (all_images(), *bins(EDGES)):
            images, values = table[stratum.name]
            ap, low, high = values[i]
            rest = dict.fromkeys(('ap50', 'ap75', 'aps', 'apm', 'apl', 'ar', 'instances_per_image'), math.nan)
            own = {'num_instances': 0, 'num_categories': 0, 'intervals': {'ap': Interval(low, high)}, **rest}
            rows.append(StratumResult(stratum=stratum, num_images=images, ap=ap, **own))
        results.append(OcclusionResult(name, 'bbox', Measure(), '', '', '', tuple(rows)))
    return results


def definitions():
    """One panel a scene: its boxes, each with its covered fraction, and the ratios below."""
    with drawing():
        figure = new_figure(9.6, 6.2)
        for axes, (name, boxes) in zip(figure.subplots(2, 3).flat, SCENES.items(), strict=True):
            boxes = np.array(boxes, dtype=float)
            _draw(axes, boxes, covered_fractions(boxes))
            axes.set_title(name, fontsize=11)
            axes.set_xlabel(
                f'covered {covered_ratio(boxes):.2f}   multi {multi_ratio(boxes):.2f}\n'
                f'pairwise {pairwise_ratio(boxes):.2f}   max-iou {max_iou(boxes):.2f}',
                fontsize=10,
            )
    return figure


def _draw(axes, boxes: np.ndarray, fractions: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    # Identical boxes would hide one another: each is drawn a little inside the one before it.
    shrink = {}
    for i, (box, fraction) in enumerate(zip(boxes, fractions, strict=True)):
        key = tuple(box)
        inset = 0.22 * shrink.get(key, 0)
        shrink[key] = shrink.get(key, 0) + 1
        x, y, width, height = box + np.array([inset, inset, -2 * inset, -2 * inset])
        colour = LIGHT.models[i % len(LIGHT.models)]
        axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, alpha=0.18))
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=2))
        if shrink[key] == 1:
            offset = 9 * (boxes == box).all(axis=1).sum() - 6  # inside the innermost of identical boxes
            axes.annotate(f'{fraction:.0%}', (x, y), xytext=(offset, offset), textcoords='offset points', fontsize=9)
    axes.set(xlim=(0, 12), ylim=(0, 8), xticks=[], yticks=[], aspect='equal')
    for side in axes.spines.values():
        side.set_visible(False)


if __name__ == '__main__':
    main()
